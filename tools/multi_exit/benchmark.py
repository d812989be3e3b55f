#!/usr/bin/env python
"""Measure accuracy and throughput of a calibrated cascade on its test images.

Each exit alone, and budgeted inference with some of the stored thresholds, are timed in
alternation, with images preloaded in memory. Ratios are more reliable than absolute numbers. The
ideal speedup assumes that each image takes the time of its exit alone and that the exit decision is
free.
"""

import argparse
import json
import sys
from pathlib import Path

from smallvit.cli import base_parser, run_tool
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
    parser.add_argument("checkpoint", type=Path, help="calibrated checkpoint")
    parser.add_argument("--batch-size", type=positive, default=128, help="default: 128")
    parser.add_argument(
        "--points", type=positive, default=12, help="number of thresholds to time; default: 12"
    )
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument(
        "--num-images", type=positive, help="maximum number of test images; default: all"
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=0.5,
        help="accuracy loss in points allowed in the summary, relative to the last exit; "
        "default: 0.5",
    )
    parser.add_argument("--threads", type=positive, help="CPU threads; default: that of torch")
    add_trust_flag(parser)
    add_device_flag(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_overwrite_flag(parser)
    parser.add_argument("--plot", metavar="FILE", help="plot accuracy over images/s")
    return parser.parse_args(argv)


def spread(rows: list, count: int) -> list:
    """Select evenly spaced rows, including the first and last, without duplicates."""
    if count >= len(rows):
        chosen = rows
    else:
        steps = max(count - 1, 1)
        chosen = [rows[round(number * (len(rows) - 1) / steps)] for number in range(count)]
    return [row for index, row in enumerate(chosen) if row not in chosen[:index]]


def report(points: list, best, alone, margin: float) -> None:
    print(
        "run            accuracy   GFLOPs   images/s   speedup over the last exit    ideal"
        "   exits (%)"
    )
    for point in points:
        low, high = point.speedup_range
        shares = "/".join(f"{share:.0f}" for share in point.shares)
        print(
            f"{point.name:12}  {point.accuracy:9.2f}  {point.gflops:7.4f}  "
            f"{point.images_per_second:9.1f}   {point.speedup:8.2f} ({low:.2f} to {high:.2f})"
            f"   {point.ideal:8.2f}{shares:>14}"
        )
    if best is None:
        print(f"no thresholds are within {margin:g} points of the last exit")
    else:
        low, high = best.speedup_range
        print(
            f"within {margin:g} points of the last exit: {best.name}, {best.accuracy:.2f}%, "
            f"{best.speedup:.2f} times as fast ({low:.2f} to {high:.2f} over the rounds)"
        )
        if alone is not None:
            print(
                f"but {alone.name} alone has the same accuracy ({alone.accuracy:.2f}%) and is "
                f"{alone.images_per_second / best.images_per_second:.2f} times as fast as that: "
                "use it, or train longer before calibrating"
            )


def main(argv=None) -> None:
    args = parse_args(argv)
    for path in (args.json, args.plot):
        require_free(path, args.overwrite)

    import torch

    from smallvit.engine.pipeline import resolve
    from smallvit.plugins.multi_exit.plots import plot_throughput
    from smallvit.plugins.multi_exit.serving import (
        build_loader,
        load_cascade,
        load_images,
        require_calibration,
    )
    from smallvit.plugins.multi_exit.timing import as_good_alone, fastest_within, measure, to_rows
    from smallvit.utils.files import write_whole

    if args.threads:
        torch.set_num_threads(args.threads)
    read_as_asked(args)
    cfg = resolve(args.config, args.cfg_options, ("model", "test_dataloader"), "measuring")
    device = choose_device(args.device)
    model, _ = load_cascade(cfg, args.checkpoint, device)
    calibration = require_calibration(model, args.checkpoint)
    images, labels = load_images(model, build_loader(cfg.test_dataloader, args.num_images))
    rows = spread(calibration.thresholds, args.points)
    points = measure(model, images, labels, calibration, rows, args.batch_size, args.rounds)
    setting = (
        f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, "
        f"batch {args.batch_size}, {len(images)} images of {images.shape[2]}x{images.shape[3]}"
    )
    print(setting)
    best = fastest_within(points, args.margin)
    alone = None if best is None else as_good_alone(points, best)
    report(points, best, alone, args.margin)
    if args.json:
        content = {"setting": setting, "points": to_rows(points)}
        write_whole(args.json, json.dumps(content, indent=1))
    if args.plot:
        plot_throughput(to_rows(points), setting, args.plot)


if __name__ == "__main__":
    sys.exit(run_tool(main))
