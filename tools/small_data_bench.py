#!/usr/bin/env python
"""Compare several methods on your images under the same training budget.

--data is a folder with one folder per class (or train/, val/ and test/ with such folders), or
"digits"; with a COCO file or a folder with boxes, masks or label maps, mini networks are compared
in detectors and segmentors. Run the same command again to resume an interrupted bench. The results
are in --out: report.html, table.md, results.csv and plots.
"""

import argparse
import sys

from smallvit.cli import run_tool, tool_parser
from smallvit.cli.arguments import natural, positive


def positive_float(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def part(text: str) -> float:
    number = positive_float(text)
    if number >= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def count(text: str) -> float:
    factors = {"k": 1e3, "M": 1e6, "G": 1e9}
    factor = factors.get(text[-1:], 1.0)
    try:
        return positive_float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number such as 250k or 0.25M"
        ) from None


def samples(text: str) -> str:
    if text != "all" and not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a positive number nor 'all'")
    return text


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--data", help='folder of images, table of labels (.csv), COCO file, or "digits"'
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="see --list-methods; default: vit vit+shortcut dhvt dwnet resnet; for boxes and label "
        "maps, swin and swin+shortcut instead of resnet",
    )
    parser.add_argument(
        "--void-id", type=natural, metavar="N", help="pixel value of label maps to ignore"
    )
    parser.add_argument(
        "--samples-per-class",
        nargs="+",
        type=samples,
        default=["all"],
        metavar="N",
        help="training images per class, one or more numbers or 'all'; default: all",
    )
    parser.add_argument(
        "--val-per-class",
        type=positive,
        metavar="N",
        help="validation images per class; default: all",
    )
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds; default: 3")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--budget-minutes",
        type=positive_float,
        default=60.0,
        help="total wall time of all runs, divided equally; default: 60",
    )
    budget.add_argument(
        "--epochs", type=positive_float, help="alternatively, number of epochs of every run"
    )
    budget.add_argument(
        "--iters", type=positive, help="alternatively, number of steps of every run"
    )
    parser.add_argument(
        "--until-flat",
        type=positive,
        nargs="?",
        const=4,
        metavar="N",
        help="continue methods whose validation curve still rises, doubling their steps at most "
        "N times (4); requires --iters or --epochs",
    )
    parser.add_argument(
        "--schedule",
        choices=["trapezoid", "cosine"],
        default="trapezoid",
        help="learning rate schedule; cosine cannot be continued; default: trapezoid",
    )
    parser.add_argument(
        "--no-lr-search",
        action="store_true",
        help="use the recipe's learning rate and the default guidance weight instead of searching "
        "them for each method",
    )
    parser.add_argument(
        "--unlabeled",
        metavar="PATH",
        help="folder of additional images, of any layout, for +masked, +instance and +views; "
        "validation and test images are excluded",
    )
    parser.add_argument(
        "--pretraining-share",
        type=part,
        default=0.5,
        metavar="PART",
        help="fraction of the training time spent on pretraining; default: 0.5",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--params",
        type=count,
        metavar="N",
        help="target number of parameters of all networks, within 10%%, with necks and heads; "
        "default: 0.25M, 5.7M for images above 64x64, 2M for boxes and label maps",
    )
    sizes.add_argument(
        "--flops",
        type=count,
        metavar="N",
        help="alternatively, target multiply-adds per image, such as 15M",
    )
    sizes.add_argument(
        "--as-published",
        action="store_true",
        help="alternatively, use the network sizes of the configs",
    )
    parser.add_argument("--out", help="output folder; default: work_dirs/bench_<data>")
    parser.add_argument(
        "--image-size",
        type=positive,
        help="default: 32, 64 or 224, depending on the images; for boxes and label maps, the "
        "longer side, as a multiple of 32 from 64 to 1024",
    )
    parser.add_argument(
        "--batch-size", type=positive, help="default: 64; 8 for boxes and label maps"
    )
    parser.add_argument(
        "--no-flip",
        action="store_true",
        help="no horizontal flips (for text, digits, left and right)",
    )
    parser.add_argument(
        "--jobs", type=positive, help="number of parallel runs; default: one per GPU, or per core"
    )
    parser.add_argument(
        "--threads", type=positive, help="CPU threads per run; default: 1 on the CPU"
    )
    parser.add_argument("--workers", type=natural, help="data loader workers per run")
    parser.add_argument(
        "--launcher",
        choices=["none", "submitit"],
        default="none",
        help="submitit: submit the runs to Slurm as job arrays with at most --jobs (16) at a time; "
        "requires a shared folder and the extra 'cluster'; none (default): local processes",
    )
    parser.add_argument(
        "--submitit",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="submitit parameters: slurm_partition=gpu timeout_min=240 gpus_per_node=1 "
        "cpus_per_task=4; cluster=local runs on this machine",
    )
    parser.add_argument(
        "--report-only",
        action="store_true",
        help="write table, plots and report of the existing results",
    )
    parser.add_argument("--list-methods", action="store_true", help="describe the methods and exit")
    args = parser.parse_args(argv)
    if args.out is None and args.data is not None:
        from pathlib import Path

        args.out = f"work_dirs/bench_{Path(args.data).resolve().name}"
    if not args.list_methods and not (args.out if args.report_only else args.data):
        parser.error("--data is required (a folder, or digits); for --report-only, --out")
    if args.until_flat and (args.iters or args.epochs) is None:
        parser.error("--until-flat requires --iters or --epochs, not --budget-minutes")
    if args.submitit and args.launcher != "submitit":
        parser.error("--submitit requires --launcher submitit")
    if args.until_flat and args.schedule == "cosine":
        parser.error(
            "--until-flat requires --schedule trapezoid: a cosine schedule cannot be continued"
        )
    return args


def main(argv=None) -> int:
    args = parse_args(argv)

    from smallvit.bench.methods import list_methods

    if args.list_methods:
        print(list_methods())
        return 0

    from smallvit.bench.run import run_bench

    try:
        return run_bench(args)
    except KeyboardInterrupt:
        left = " (jobs submitted to Slurm keep running)" if args.launcher != "none" else ""
        print(f"interrupted; run the same command to resume{left}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run_tool(main))
