#!/usr/bin/env python
"""Plot accuracy over GFLOPs of calibrated checkpoints, or draw the most confident images.

The curves are those stored by calibrate.py, for the test images if it ran with --evaluate,
otherwise for the calibration images; no inference is run. With --images and a config, inference is
run on the test images, and the most confident correct and incorrect predictions of each class are
drawn with the exit that each image takes.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import (
    add_override_flags,
    add_overwrite_flag,
    add_trust_flag,
    positive,
    read_as_asked,
    require_free,
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, help="calibrated checkpoints")
    parser.add_argument("--out", required=True, metavar="FILE", help="output image")
    parser.add_argument(
        "--images", metavar="CONFIG", help="draw images of the test set of this config instead"
    )
    parser.add_argument(
        "--per-class",
        type=positive,
        default=4,
        help="correct and incorrect images per class; default: 4",
    )
    parser.add_argument("--max-gflops", type=float, metavar="G", help="budget for the exits")
    parser.add_argument(
        "--min-accuracy", type=float, metavar="A", help="target accuracy for the exits"
    )
    add_override_flags(parser)
    add_overwrite_flag(parser)
    add_trust_flag(parser)
    args = parser.parse_args(argv)
    if args.images:
        if len(args.checkpoints) > 1:
            parser.error("--images requires a single checkpoint")
        if (args.max_gflops is None) == (args.min_accuracy is None):
            parser.error("--images requires either --max-gflops or --min-accuracy")
    return args


def draw_curves(args: argparse.Namespace) -> None:
    from smallvit.plugins.multi_exit.plots import plot_gflops
    from smallvit.plugins.multi_exit.storage import read_calibration, read_checkpoint

    curves = {}
    for path in args.checkpoints:
        calibration = read_calibration(read_checkpoint(path), str(path))
        curve = calibration.evaluation or calibration.calibration
        if curve is None or not curve.accuracy:
            raise UserError(f"{path} contains no curve: run tools/multi_exit/calibrate.py")
        kind = "test" if calibration.evaluation is not None else "calibration"
        curves[f"{path.stem} ({kind} images)"] = (curve, calibration.flops)
    plot_gflops(curves, args.out)


def draw_images(args: argparse.Namespace) -> None:
    import mmcv

    from smallvit.datasets.io.images import read_image
    from smallvit.engine.pipeline import resolve
    from smallvit.plugins.multi_exit.calibration import score_exits
    from smallvit.plugins.multi_exit.collect import collect_logits
    from smallvit.plugins.multi_exit.plots import plot_surest, surest_right_and_wrong
    from smallvit.plugins.multi_exit.serving import (
        build_loader,
        load_cascade,
        require_calibration,
    )
    from smallvit.plugins.multi_exit.thresholds import choose_exits

    cfg = resolve(args.images, args.cfg_options)
    model, _ = load_cascade(cfg, args.checkpoints[0])
    calibration = require_calibration(model, args.checkpoints[0])
    row = calibration.select_thresholds(args.max_gflops, args.min_accuracy)
    loader = build_loader(cfg.test_dataloader)
    logits, labels = collect_logits(model, loader, progress=True)
    confidence, correct = score_exits(logits, labels, calibration.policy, calibration.temperatures)
    exits = choose_exits(confidence, row)
    classes = loader.dataset.metainfo.get("classes") or [
        str(label) for label in range(logits.shape[2])
    ]
    answers = logits.argmax(dim=2)

    def caption(index: int) -> str:
        taken = int(exits[index])
        verdict = "" if correct[taken, index] else f": {classes[int(answers[taken, index])]}"
        return f"exit {taken}{verdict}"

    chosen = surest_right_and_wrong(confidence, correct, labels, args.per_class)
    shown = {index for pair in chosen.values() for each in pair for index in each}
    images = {}
    for index in shown:
        info = loader.dataset.get_data_info(index)
        images[index] = mmcv.bgr2rgb(info["img"] if "img" in info else read_image(info["img_path"]))
    captions = {index: caption(index) for index in shown}
    plot_surest(images, captions, chosen, classes, args.out)


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.out, args.overwrite, sources=args.checkpoints)

    read_as_asked(args)
    draw_images(args) if args.images else draw_curves(args)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
