#!/usr/bin/env python
"""Compare the inference speed of each architecture with its straightforward implementation.

The reference has the same weights and computes each term of the equations separately, see
plain_formulations.py. Both are timed in alternation on random images, so the ratios are reliable;
images/s are those of the fastest round.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free
from smallvit.cli.run_tool import module_of_checkout

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
#: Name, config, size of the images.
ARCHITECTURES = (
    ("DHVT-T/4", "dhvt/dhvt-t-p4_cifar100.py", 32),
    ("DHVT-S/4", "dhvt/dhvt-s-p4_cifar100.py", 32),
    ("DHVT-T/16", "dhvt/dhvt-t_in1k.py", 224),
    ("ViT-T, DW shortcut", "dw_shortcut/vit-t_shortcut_cifar100.py", 224),
    ("CaiT-XXS12, DW shortcut", "dw_shortcut/cait-xxs12_shortcut_cifar100.py", 224),
    ("CaiT-XXS24, DW shortcut", "dw_shortcut/cait-xxs24_shortcut_cifar100.py", 224),
    ("Swin-T, DW shortcut", "dw_shortcut/swin-t_shortcut_cifar100.py", 224),
    ("DeiT-Ti", "locality_guidance/deit-ti_cifar100.py", 224),
    ("T2T-ViT-7", "locality_guidance/t2t-vit-7_cifar100.py", 224),
    ("T2T-ViT-14", "locality_guidance/t2t-vit-14_cifar100.py", 224),
    ("PiT-Ti", "locality_guidance/pit-ti_cifar100.py", 224),
    ("PVT-Ti", "locality_guidance/pvt-ti_cifar100.py", 224),
    ("PVTv2-B0", "locality_guidance/pvtv2-b0_cifar100.py", 224),
    ("ConViT-Ti", "locality_guidance/convit-ti_cifar100.py", 224),
    ("CvT-13", "locality_guidance/cvt-13_cifar100.py", 224),
    ("ResNet-56", "locality_guidance/resnet-56_cifar100.py", 32),
    ("ResNet-18", "locality_guidance/resnet-18_cifar100.py", 224),
    ("DWNet-T", "dwnet/dwnet-t_in1k.py", 224),
    ("DWNet-T, dynamic", "dwnet/dwnet-t_dynamic_in1k.py", 224),
    ("DWNet-T, inhomogeneous", "dwnet/dwnet-t_inhomogeneous_in1k.py", 224),
    ("DVT-T2T-12, all exits", "dvt/dvt-t2t-12_cifar100.py", 224),
    ("DVT-DeiT-S, all exits", "dvt/dvt-deit-s_in1k.py", 224),
)
#: Maximum difference of the outputs due to rounding, relative to the largest output.
TOLERANCE = 1e-4


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="regular expression for names"
    )
    parser.add_argument(
        "--batch", type=positive, default=4, help="default: 4; 8 times that at 32x32"
    )
    parser.add_argument("--size", type=positive, help="image size; default: that of the model")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads; default: 1")
    parser.add_argument("--rounds", type=positive, default=15, help="default: 15")
    parser.add_argument(
        "--seconds", type=float, default=0.2, help="minimum duration of a timing; default: 0.2"
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "both"],
        default="both",
        help="compare with the plain implementation, bfloat16 with float32, or both",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def select_architectures(pattern: str) -> list[tuple[str, str, int]]:
    found = [each for each in ARCHITECTURES if re.search(pattern, each[0])]
    if not found:
        names = ", ".join(name for name, _, _ in ARCHITECTURES)
        raise UserError(f"--only {pattern}: no architecture is called so; there are {names}")
    return found


def build(config: str):
    """Build a model in evaluation mode with nontrivial batch norm statistics."""
    import torch
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    from smallvit.cli.config import load_config
    from smallvit.engine.models import build_model

    if not MMLogger.check_instance_created("benchmark"):
        MMLogger.get_instance("benchmark", log_level="WARNING")
    torch.manual_seed(0)
    cfg = load_config(str(CONFIGS / config))
    init_default_scope(cfg.default_scope)
    model = build_model(cfg)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return model


def difference(ours, plain) -> float:
    """Return the maximum difference of two outputs or tuples, relative to the largest value."""
    import torch

    if isinstance(ours, torch.Tensor):
        return ((ours - plain).abs().max() / plain.abs().max()).item()
    return max(difference(*pair) for pair in zip(ours, plain, strict=True))


def measure(name: str, config: str, size: int, args: argparse.Namespace) -> dict:
    import torch

    from smallvit.analysis.benchmark import BenchmarkSettings, summarize, time_in_turns

    model = build(config)
    models = {"ours": model}
    if args.dtype != "bfloat16":
        models["plain"] = module_of_checkout("plain_formulations").plain_copy(model)
    batch = args.batch * (8 if size == 32 else 1)
    images = torch.randn(batch, 3, args.size or size, args.size or size)

    def step(model, dtype=torch.float32):
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return model(images, mode="tensor")

    outputs = {key: step(each) for key, each in models.items()}
    steps = {key: lambda each=each: step(each) for key, each in models.items()}
    if args.dtype != "float32":
        steps["bfloat16"] = lambda: step(model, torch.bfloat16)
        steps["bfloat16"]()
    rounds = time_in_turns(steps, BenchmarkSettings(repeats=args.rounds, seconds=args.seconds))
    result = {"name": name, "batch": batch, "images_per_second": {}}
    for key in steps:
        result["images_per_second"][key] = batch / min(times[key] for times in rounds)
    if "plain" in steps:
        result["difference"] = difference(outputs["ours"], outputs["plain"])
        result["over_plain"] = summarize([times["plain"] / times["ours"] for times in rounds])
    if "bfloat16" in steps:
        ratios = [times["ours"] / times["bfloat16"] for times in rounds]
        result["bfloat16_over_float32"] = summarize(ratios)
    return result


def report(result: dict) -> None:
    speeds = result["images_per_second"]
    line = f"{result['name']:24} {speeds['ours']:9.1f}"
    for key in ("over_plain", "bfloat16_over_float32"):
        if key in result:
            ratio = result[key]
            speed = speeds["plain" if key == "over_plain" else "bfloat16"]
            line += f" {speed:9.1f} {ratio['median']:6.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
    print(line, flush=True)


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)
    chosen = select_architectures(args.only)

    import torch

    from smallvit.utils.files import write_whole

    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.rounds} rounds")
    columns = {"float32": ("plain",), "bfloat16": ("bfloat16",), "both": ("plain", "bfloat16")}
    heads = "".join(f" {head:>9}  ratio (min-max)" for head in columns[args.dtype])
    print(f"{'images/s':24} {'ours':>9}{heads}")
    results = []
    for name, config, size in chosen:
        results.append(measure(name, config, size, args))
        report(results[-1])
    summary = {}
    for key in ("over_plain", "bfloat16_over_float32"):
        if key in results[0]:
            summary[key] = geometric_mean([each[key]["median"] for each in results])
            print(f"geometric mean {key.replace('_', ' ')}: {summary[key]:.3f}")
    if args.json:
        found = {"settings": vars(args), "results": results, "means": summary}
        write_whole(args.json, json.dumps(found, indent=2))
    wrong = [each["name"] for each in results if each.get("difference", 0) > TOLERANCE]
    if wrong:
        raise UserError(f"the outputs of the two forms differ for {', '.join(wrong)}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
