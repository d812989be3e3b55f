#!/usr/bin/env python
"""Calibrate the exit thresholds of a cascade, and store them with its weights.

Runs all exits on training images (config key calibration_dataloader), computes thresholds for
the paper's range of budgets and for the requested ones, and writes a checkpoint that contains them
and the weights. --evaluate also runs the test images and stores their curve.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, base_parser, run_tool
from smallvit.cli.arguments import (
    add_device_flag,
    add_overwrite_flag,
    add_trust_flag,
    choose_device,
    positive,
    read_as_asked,
    require_free,
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint file")
    parser.add_argument(
        "--out", type=Path, help="output file; default: CHECKPOINT with the suffix _calibrated"
    )
    parser.add_argument(
        "--max-gflops",
        type=float,
        nargs="+",
        default=[],
        metavar="G",
        help="add the most accurate thresholds with at most G GFLOPs per image",
    )
    parser.add_argument(
        "--min-accuracy",
        type=float,
        nargs="+",
        default=[],
        metavar="A",
        help="add the cheapest thresholds with an accuracy of at least A percent",
    )
    parser.add_argument(
        "--rule",
        choices=["geometric", "search"],
        default="geometric",
        help="thresholds: geometric for shares p, p^2, p^3, ... of the images at the exits, as in "
        "the paper, or search for the best of all shares, which may skip inaccurate exits; "
        "default: geometric",
    )
    parser.add_argument(
        "--policy",
        choices=["max_softmax", "margin", "entropy"],
        default="max_softmax",
        help="confidence score; default: max_softmax",
    )
    parser.add_argument(
        "--temperature", action="store_true", help="fit a temperature for the logits of each exit"
    )
    parser.add_argument(
        "--num-images",
        type=positive,
        help="maximum number of randomly sampled images; default: 50000",
        default=50_000,
    )
    parser.add_argument(
        "--evaluate", action="store_true", help="also evaluate the thresholds on the test images"
    )
    parser.add_argument("--batch-size", type=positive, help="default: from the config")
    add_overwrite_flag(parser)
    add_trust_flag(parser)
    add_device_flag(parser)
    return parser.parse_args(argv)


def output_path(args: argparse.Namespace) -> Path:
    path = args.out or args.checkpoint.with_name(f"{args.checkpoint.stem}_calibrated.pth")
    if not path.absolute().parent.is_dir():
        raise UserError(f"no such folder: {path.parent}; create it first")
    require_free(path, args.overwrite, sources=[args.checkpoint, args.config])
    return path


def report(calibration, rule: str) -> None:
    from smallvit.plugins.multi_exit.plots import beaten_by_one_exit

    curve = calibration.calibration
    print(f"GFLOPs of the exits: {', '.join(f'{each:.4g}' for each in calibration.flops)}")
    if set(calibration.temperatures) != {1.0}:
        print(f"temperatures: {', '.join(f'{each:.3f}' for each in calibration.temperatures)}")
    for name, each in (("calibration", curve), ("evaluation", calibration.evaluation)):
        if each is not None:
            exits = ", ".join(f"{accuracy:.2f}" for accuracy in each.anytime)
            print(
                f"{name}: {each.num_images} images; accuracy of the exits {exits}; "
                f"{len(each.accuracy)} thresholds from {min(each.flops):.4g} to "
                f"{max(each.flops):.4g} GFLOPs"
            )
    beaten = beaten_by_one_exit(curve.flops, curve.accuracy, calibration.flops, curve.anytime).sum()
    if beaten and rule == "geometric":
        print(
            f"{beaten} of {len(curve.flops)} thresholds are less accurate than a single exit that "
            "costs no more; --rule search finds better ones"
        )


def main(argv=None) -> None:
    args = parse_args(argv)
    out = output_path(args)

    from smallvit.engine.pipeline import resolve
    from smallvit.plugins.multi_exit.collect import calibrate_model, collect_logits
    from smallvit.plugins.multi_exit.serving import build_loader, load_cascade
    from smallvit.plugins.multi_exit.storage import with_calibration, write_checkpoint

    read_as_asked(args)
    needs = ("model", "calibration_dataloader")
    cfg = resolve(args.config, args.cfg_options, needs, "calibration")
    device = choose_device(args.device)
    model, content = load_cascade(cfg, args.checkpoint, device)
    loader = build_loader(cfg.calibration_dataloader, args.num_images, args.batch_size)
    calibration = calibrate_model(
        model,
        loader,
        rule=args.rule,
        policy=args.policy,
        with_temperature=args.temperature,
        max_gflops=args.max_gflops,
        min_accuracy=args.min_accuracy,
        progress=True,
    )
    if args.evaluate:
        test = build_loader(cfg.test_dataloader, batch_size=args.batch_size)
        calibration.evaluation = calibration.evaluate(*collect_logits(model, test, progress=True))
    write_checkpoint(with_calibration(content, calibration), out)
    report(calibration, args.rule)
    print(f"wrote {out}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
