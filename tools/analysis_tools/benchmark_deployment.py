#!/usr/bin/env python
"""Compare speed and accuracy of trained classifiers in float32, bfloat16 and int8.

Uses the test images of each config. The variants are timed in alternation in one process: the model
in PyTorch in float32 and under bfloat16 autocast (smallvit predict --precision bf16), and the
graphs of smallvit export in float32, int8 with dynamic ranges, and int8 calibrated on training
images. Results are median milliseconds of CPU time per image, accuracy in percent, and the fraction
of images with the same class as float32.

A cascade exits at --confidence, in PyTorch and in smallvit.apis.CascadeRunner.
"""

import argparse
import glob
import json
import os
import sys
import tempfile
from functools import partial

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, add_trust_flag, positive, require_free

GRAPHS = {"onnx": None, "onnx int8": False, "onnx int8 calibrated": True}


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "folder",
        nargs="+",
        help="work directories of trained classifiers; uses the best checkpoint",
    )
    parser.add_argument("--images", type=positive, default=500, help="test images; default: 500")
    parser.add_argument(
        "--calibration",
        type=positive,
        default=128,
        help="calibration images from the training set; default: 128",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        nargs="+",
        default=[1, 8],
        help="batch sizes to time; default: 1 8",
    )
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads; default: 1")
    parser.add_argument("--rounds", type=positive, default=9, help="default: 9")
    parser.add_argument(
        "--confidence", type=float, default=0.7, help="exit threshold of a cascade; default: 0.7"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_trust_flag(parser)
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def trained_in(folder: str) -> tuple[str, str]:
    """Find the config and the best or last checkpoint of a training run."""
    configs = glob.glob(os.path.join(glob.escape(folder), "*.py"))
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "best_*.pth")))
    found = found or glob.glob(os.path.join(glob.escape(folder), "*_[0-9]*.pth"))
    if len(configs) != 1 or not found:
        raise UserError(f"{folder} is not a work directory with one config and checkpoints")
    return configs[0], max(found, key=os.path.getmtime)


def samples(cfg, loader: str, count: int, steps) -> tuple:
    """Load evenly spaced images of a dataset with the test pipeline.

    Args:
        cfg (Config): Training config.
        loader (str): "train_dataloader" or "test_dataloader".
        count (int): Maximum number of images.
        steps (Callable): Converts packed samples to inputs of the graph.

    Returns:
        tuple[torch.Tensor, torch.Tensor]: Images (N, C, H, W), labels (N, ).
    """
    import torch
    from mmengine.registry import DATASETS, DefaultScope

    settings = cfg[loader].dataset.to_dict()
    while "dataset" in settings:
        settings = settings["dataset"]
    test = cfg.test_dataloader.dataset
    settings = {**settings, "pipeline": test.pipeline, "test_mode": True}
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(settings)
        total = min(count, len(dataset))
        packed = [dataset[number * len(dataset) // total] for number in range(total)]
    labels = torch.cat([each["data_samples"].gt_label for each in packed])
    return steps(torch.stack([each["inputs"] for each in packed])), labels


def batched(run, images, size: int):
    """Run a function in batches and return all outputs."""
    import torch

    return torch.cat([run(part) for part in images.split(size)])


def forms_of_network(predictor, images, calibration, folder: str) -> dict:
    """Return the variants of a classifier, by name."""
    import torch

    from smallvit.apis.exporting import Wish, run_session, write_graph
    from smallvit.apis.graphs import graph_of, run_all
    from smallvit.apis.reduced_precision import quantize

    graph = graph_of(predictor.model, predictor.task, False, images[:2])

    def in_bfloat16(inputs):
        with torch.autocast("cpu", torch.bfloat16):
            return run_all(graph, inputs)[0].float()

    forms = {"fp32": lambda inputs: run_all(graph, inputs)[0], "bf16": in_bfloat16}
    plain = os.path.join(folder, "onnx.onnx")
    write_graph(graph, (images[:2],), plain, "onnx", Wish(), {})
    for name, calibrates in GRAPHS.items():
        path = os.path.join(folder, f"{name}.onnx")
        if calibrates is not None:
            quantize(plain, path, (calibration,) if calibrates else None)
        session = session_of(path)
        forms[name] = lambda inputs, session=session: run_session(session, inputs)[0]
    return forms


def session_of(path: str):
    """Create an ONNX Runtime session with the thread count of torch."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def forms_of_cascade(predictor, images, calibration, folder: str, args: argparse.Namespace) -> dict:
    """Return the variants of a cascade with early exit, by name."""
    import torch

    from smallvit.apis.cascades import CascadeRunner, export_cascade
    from smallvit.apis.exporting import Wish

    model = predictor.model
    thresholds = [args.confidence] * (model.num_exits - 1)
    model.set_inference(mode="budgeted", thresholds=thresholds)

    def plain(inputs, dtype=torch.float32):
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return model.predict_budgeted(inputs)[0].float()

    forms = {"fp32": plain, "bf16": partial(plain, dtype=torch.bfloat16)}
    for name, calibrates in GRAPHS.items():
        path = os.path.join(folder, name)
        wish = Wish(precision="fp32" if calibrates is None else "int8")
        ranges = calibration if calibrates else None
        export_cascade(predictor, path, wish, calibration[:32], ranges)
        runner = CascadeRunner(path, thresholds)
        runner.sessions = [
            session_of(os.path.join(path, f"exit_{number + 1}.onnx"))
            for number in range(len(runner.sessions))
        ]
        forms[name] = lambda inputs, runner=runner: torch.from_numpy(runner(inputs.numpy())[0])
    return forms


def measure(folder_of_run: str, args: argparse.Namespace) -> dict:
    """Compare all variants of the model in a work directory."""
    from smallvit.analysis.harness import time_interleaved
    from smallvit.analysis.training_parts import median_timing
    from smallvit.apis.graphs import Preprocessing
    from smallvit.apis.predictor import Predictor
    from smallvit.cli.config import load_config

    config, checkpoint = trained_in(folder_of_run)
    cfg, predictor = load_config(config), Predictor(checkpoint, device="cpu")
    if predictor.task != "classification":
        raise UserError(
            f"{checkpoint} is a model for {predictor.task}: only classifiers are supported"
        )
    steps = Preprocessing(predictor.model.data_preprocessor.cpu())
    images, labels = samples(cfg, "test_dataloader", args.images, steps)
    raw, _ = samples(cfg, "train_dataloader", args.calibration, lambda packed: packed)
    name = os.path.basename(os.path.normpath(folder_of_run))
    found = {"name": name, "images": len(images)}
    with tempfile.TemporaryDirectory() as folder:
        if hasattr(predictor.model, "predict_budgeted"):
            arrays = [each.permute(1, 2, 0).numpy() for each in raw]
            forms = forms_of_cascade(predictor, images, arrays, folder, args)
        else:
            forms = forms_of_network(predictor, images, steps(raw), folder)
        found["forms"] = {name: {} for name in forms}
        decided = {name: batched(run, images, 32).argmax(1) for name, run in forms.items()}
        for name, classes in decided.items():
            found["forms"][name]["accuracy"] = 100 * (classes == labels).float().mean().item()
            found["forms"][name]["same"] = (classes == decided["fp32"]).float().mean().item()
        for size in args.batch:
            calls = {name: partial(run, images[:size]) for name, run in forms.items()}
            timings = median_timing(time_interleaved(calls, args.rounds, warm_up=1, seconds=0.05))
            for name, timing in timings.items():
                found["forms"][name][f"ms_{size}"] = 1000 * timing["cpu"] / size
    return found


def report(found: dict, sizes: list[int]) -> None:
    """Print the results of one model."""
    for number, (name, figures) in enumerate(found["forms"].items()):
        line = f"{found['name'] if number == 0 else '':24} {name:22} {figures['accuracy']:8.1f} "
        line += f"{figures['same']:8.3f}"
        for size in sizes:
            faster = found["forms"]["fp32"][f"ms_{size}"] / figures[f"ms_{size}"]
            line += f"{figures[f'ms_{size}']:10.2f} ({faster:.2f}x)"
        print(line, flush=True)


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)
    from smallvit.cli.arguments import read_as_asked

    read_as_asked(args)

    import torch

    from smallvit.analysis.attention_timing import describe_processor
    from smallvit.utils.files import write_whole

    torch.set_num_threads(args.threads)
    print(
        f"{describe_processor()}, {args.threads} threads, torch {torch.__version__}, "
        f"{args.rounds} rounds; CPU time of an image (times as fast as fp32)"
    )
    heads = "".join(f"{f'ms, batch {size}':>18}" for size in args.batch)
    print(f"{'':24} {'':22} {'accuracy':>8} {'same':>8}{heads}")
    results = []
    for folder in args.folder:
        results.append(measure(folder, args))
        report(results[-1], args.batch)
    if args.json:
        write_whole(args.json, json.dumps({"settings": vars(args), "results": results}, indent=2))


if __name__ == "__main__":
    sys.exit(run_tool(main))
