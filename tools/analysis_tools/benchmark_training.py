#!/usr/bin/env python
"""Compare training steps with timm, the plain implementation and the official code.

Forward, backward, optimizer and the transforms of an image are timed separately, with all models in
alternation on the same random images. A ratio is the time of the other model divided by ours, the
median over the rounds: above 1, ours is faster. Results are CPU time, which is less affected by
other load, with wall time in parentheses.

plain: same weights, each term of the equations computed separately (plain_formulations.py), and one
parameter group per parameter as in MMEngine. timm: timm's model of the same architecture with two
groups. official: the models of the official code, from a folder of clones of its repositories, with
two groups; their code is executed (official_models.py).
"""

import argparse
import json
import sys
from functools import partial

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import (
    add_device_flag,
    add_overwrite_flag,
    choose_device,
    positive,
    require_free,
)
from smallvit.cli.run_tool import module_of_checkout

#: timm models of the same architecture, by name in benchmark_backbones.py.
TIMM = {
    "DeiT-Ti": "deit_tiny_patch16_224",
    "PiT-Ti": "pit_ti_224",
    "PVTv2-B0": "pvt_v2_b0",
    "ConViT-Ti": "convit_tiny",
    "ResNet-18": "resnet18",
}
COLUMNS = ("forward", "backward", "optimizer", "step")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="regular expression for names"
    )
    parser.add_argument(
        "--batch", type=positive, default=4, help="default: 4; 8 times that at 32x32"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads; default: that of torch")
    parser.add_argument("--rounds", type=positive, default=7, help="default: 7")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="autocast dtype; float32 disables autocast",
    )
    add_device_flag(parser)
    parser.add_argument(
        "--compile", action="store_true", help="add a row for our model under torch.compile"
    )
    parser.add_argument("--official", metavar="FOLDER", help="clones of the official repositories")
    parser.add_argument(
        "--images", type=positive, default=200, help="number of images for the loader; default: 200"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def build_trainings(name: str, config: str, args: argparse.Namespace) -> tuple[dict, object]:
    """Build all available models of an architecture with optimizers, and return the config."""
    from copy import deepcopy

    import timm
    from mmengine.optim import build_optim_wrapper

    from smallvit.analysis.training_parts import Training
    from smallvit.cli.config import load_config

    backbones = module_of_checkout("benchmark_backbones")
    cfg = load_config(str(backbones.CONFIGS / config))
    model = backbones.build(config).to(args.device)
    wrapper = {
        key: value
        for key, value in cfg.optim_wrapper.to_dict().items()
        if key in ("optimizer", "paramwise_cfg", "constructor")
    }
    single = {**wrapper, "constructor": "DefaultOptimWrapperConstructor"}
    single["paramwise_cfg"] = {
        key: value
        for key, value in (wrapper.get("paramwise_cfg") or {}).items()
        if key != "constructor"
    }

    def training(model, settings: dict):
        optimizer = build_optim_wrapper(model, {"type": "OptimWrapper", **deepcopy(settings)})
        return Training(model, optimizer.optimizer, partial(model, mode="tensor"))

    plain = module_of_checkout("plain_formulations").plain_copy(model)
    found = {"ours": training(model, wrapper), "plain": training(plain, single)}
    if args.compile:
        compiled = deepcopy(model)
        compiled.backbone.compile()
        found["compiled"] = training(compiled, wrapper)
    others = {}
    if name in TIMM:
        classes = cfg.model.head.num_classes
        others["timm"] = timm.create_model(TIMM[name], num_classes=classes)
    if args.official:
        official = module_of_checkout("official_models")
        try:
            others["official"] = model = official.build_official(name, args.official)
            if model is not None and args.device == "cpu":
                official.keep_on_cpu(model)
        except UserError as error:
            print(error, file=sys.stderr)
    for key, other in others.items():
        if other is not None:
            other = other.to(args.device)
            found[key] = Training(other, two_groups(other))
    return found, cfg


def two_groups(model):
    """Create AdamW with weight decay on matrices only, as in timm and the official code."""
    import torch

    parts = {True: [], False: []}
    for parameter in model.parameters():
        parts[parameter.ndim > 1].append(parameter)
    groups = [{"params": parts[True]}, {"params": parts[False], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.05)


def time_loaders(cfg, size: int, args: argparse.Namespace) -> dict:
    """Time the image transforms of the config and timm's transforms for DeiT."""
    import numpy as np
    from mmengine.dataset import Compose
    from PIL import Image
    from timm.data import create_transform

    from smallvit.analysis.harness import time_interleaved
    from smallvit.analysis.training_parts import median_timing
    from smallvit.datasets.io.images import install

    install("mmpretrain")
    dataset = cfg.train_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    steps = [step for step in dataset.pipeline if not str(step.type).startswith("Load")]
    files = len(steps) < len(dataset.pipeline)
    shape = (375, 500, 3) if files else (32, 32, 3)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    ours = Compose(steps)
    others = create_transform(
        size,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-mmax9-inc1",
        interpolation="bicubic",
        re_prob=0.25,
    )

    def sample() -> dict:
        return {"img": image.copy(), "img_shape": shape[:2], "ori_shape": shape[:2], "gt_label": 0}

    calls = {"ours": lambda: ours(sample()), "timm": lambda: others(Image.fromarray(image))}
    return median_timing(time_interleaved(calls, 5, warm_up=1, count=max(1, args.images // 5)))


def measure(name: str, config: str, size: int, args: argparse.Namespace) -> dict:
    """Time all models of an architecture."""
    import torch
    from mmengine.registry import init_default_scope

    from smallvit.analysis.training_parts import summarize_parts, time_trainings

    trainings, cfg = build_trainings(name, config, args)
    init_default_scope(cfg.default_scope)
    batch = args.batch * (8 if size == 32 else 1)
    images = torch.randn(batch, 3, size, size, device=args.device)
    rounds = time_trainings(trainings, images, args.rounds, getattr(torch, args.dtype))
    return {
        "name": name,
        "batch": batch,
        "models": summarize_parts(rounds),
        "loader": time_loaders(cfg, size, args),
    }


def report(result: dict) -> None:
    """Print the results of an architecture."""
    for key, parts in result["models"].items():
        line = f"{result['name'] if key == 'ours' else '':24} {key:9}"
        for part in COLUMNS:
            figures = parts[part]
            if key == "ours":
                line += f" {1000 * figures['cpu']:8.1f} ({1000 * figures['wall']:.1f}) ms".rjust(20)
            else:
                line += f" {figures['cpu_ratio']:.2f} ({figures['wall_ratio']:.2f})".rjust(20)
        timing = result["loader"].get(key)
        if timing is not None:
            line += f" {1000 * timing['cpu']:8.2f} ({1000 * timing['wall']:.2f}) ms".rjust(20)
        print(line, flush=True)
    if "timm" not in result["models"]:
        timing = result["loader"]["timm"]
        text = f"{1000 * timing['cpu']:8.2f} ({1000 * timing['wall']:.2f}) ms"
        print(f"{'':24} {'timm':9}{'':{20 * len(COLUMNS)}}{text:>20}", flush=True)


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)
    chosen = module_of_checkout("benchmark_backbones").select_architectures(args.only)

    import torch

    from smallvit.analysis.attention_timing import describe_processor
    from smallvit.analysis.training_parts import geometric_means
    from smallvit.utils.files import write_whole

    args.device = choose_device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = describe_processor()
    if args.device.startswith("cuda"):
        machine = torch.cuda.get_device_name(args.device)
    print(
        f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {args.dtype}, "
        f"{args.rounds} rounds; CPU time (wall); others: their time over ours; the loader's of an "
        "image"
    )
    heads = "".join(f"{part:>20}" for part in (*COLUMNS, "loader"))
    print(f"{'':24} {'':9}{heads}")
    results = []
    for name, config, size in chosen:
        results.append(measure(name, config, size, args))
        report(results[-1])
    means = geometric_means(results)
    for key, value in means.items():
        print(f"geometric mean of the step, {key} over ours: {value:.3f}")
    if args.json:
        found = {"settings": vars(args), "results": results, "means": means}
        write_whole(args.json, json.dumps(found, indent=2))


if __name__ == "__main__":
    sys.exit(run_tool(main))
