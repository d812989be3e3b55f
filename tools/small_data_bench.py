#!/usr/bin/env python
"""Train several methods on your images under one equal budget, and tell which of them helps.

--data is a folder with a folder for each class (or train/, val/ and test/ with such
folders), or "digits"; a COCO file or a folder with boxes, masks or label maps compares mini
networks in detectors and segmentors. The same command goes on with a bench that was interrupted.
The results are in --out: report.html, table.md, results.csv and plots.
"""

import argparse
import sys

from smallvit.cli import run_tool, tool_parser
from smallvit.cli.arguments import positive


def positive_float(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def part(text: str) -> float:
    number = positive_float(text)
    if number >= 1:
        raise argparse.ArgumentTypeError(f"{text} is no part between 0 and 1")
    return number


def count(text: str) -> float:
    factors = {"k": 1e3, "M": 1e6, "G": 1e9}
    factor = factors.get(text[-1:], 1.0)
    try:
        return positive_float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number such as 250k or 0.25M") from None


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
        help="see --list-methods; default: vit vit+shortcut dhvt dwnet resnet, for boxes and label "
        "maps swin and swin+shortcut in the place of resnet",
    )
    parser.add_argument(
        "--samples-per-class",
        nargs="+",
        type=samples,
        default=["all"],
        metavar="N",
        help="training images of each class, one or more numbers or 'all'; default: all",
    )
    parser.add_argument(
        "--val-per-class",
        type=positive,
        metavar="N",
        help="validation images of each class; default: all",
    )
    parser.add_argument("--seeds", type=positive, default=3, help="runs of each; default: 3")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--budget-minutes",
        type=positive_float,
        default=60.0,
        help="wall time of all trainings together, in equal parts; default: 60",
    )
    budget.add_argument(
        "--epochs", type=positive_float, help="instead: as many epochs for every run"
    )
    budget.add_argument("--iters", type=positive, help="instead: as many steps for every run")
    parser.add_argument(
        "--until-flat",
        type=positive,
        nargs="?",
        const=4,
        metavar="N",
        help="go on with methods whose validation curve still rises, at twice the steps, at most "
        "N times (4); needs --iters or --epochs",
    )
    parser.add_argument(
        "--schedule",
        choices=["trapezoid", "cosine"],
        default="trapezoid",
        help="of the learning rate; a cosine cannot be prolonged; default: trapezoid",
    )
    parser.add_argument(
        "--no-lr-search",
        action="store_true",
        help="keep the recipe's learning rate, instead of the best of three for each method, and "
        "the default weight of a guidance",
    )
    parser.add_argument(
        "--unlabeled",
        metavar="PATH",
        help="folder of images, of any layout, that +masked, +instance and +views read too; those "
        "that choose or test are left out",
    )
    parser.add_argument(
        "--pretraining-share",
        type=part,
        default=0.5,
        metavar="PART",
        help="of the time of a method with a pretraining; default: 0.5",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--params",
        type=count,
        metavar="N",
        help="parameters of every network, within 10%%; default: 0.25M, or 5.7M for images above "
        "64x64",
    )
    sizes.add_argument(
        "--flops", type=count, metavar="N", help="instead: multiply-adds of one image, such as 15M"
    )
    sizes.add_argument(
        "--as-published", action="store_true", help="instead: networks as their configs have them"
    )
    parser.add_argument("--out", help="folder of the results; default: work_dirs/bench_<data>")
    parser.add_argument(
        "--image-size", type=positive, help="default: 32, 64 or 224, whichever fits the images"
    )
    parser.add_argument(
        "--batch-size", type=positive, help="default: 64, for boxes and label maps 8"
    )
    parser.add_argument(
        "--no-flip", action="store_true", help="do not mirror images (text, digits, left and right)"
    )
    parser.add_argument(
        "--jobs", type=positive, help="runs at a time; default: one for each GPU, or core"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads of a run; default: 1 on CPU")
    parser.add_argument("--workers", type=int, help="processes of a run that load images")
    parser.add_argument(
        "--launcher",
        choices=["none", "submitit"],
        default="none",
        help="submitit hands the runs to Slurm, as arrays of jobs on a shared folder, --jobs (16) "
        "at a time; needs the extra 'cluster'; default: none, processes of this machine",
    )
    parser.add_argument(
        "--submitit",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what submitit asks Slurm for: slurm_partition=gpu timeout_min=240 gpus_per_node=1 "
        "cpus_per_task=4; cluster=local tries it on this machine",
    )
    parser.add_argument(
        "--report-only", action="store_true", help="write table, plots and report of what is there"
    )
    parser.add_argument("--list-methods", action="store_true", help="explain the methods and stop")
    args = parser.parse_args(argv)
    if args.out is None and args.data is not None:
        from pathlib import Path

        args.out = f"work_dirs/bench_{Path(args.data).resolve().name}"
    if not args.list_methods and not (args.out if args.report_only else args.data):
        parser.error("--data is needed (a folder, or digits); for --report-only, --out")
    if args.until_flat and (args.iters or args.epochs) is None:
        parser.error("--until-flat prolongs runs of --iters or --epochs, not of --budget-minutes")
    if args.submitit and args.launcher != "submitit":
        parser.error("--submitit says what --launcher submitit asks for: give both")
    if args.until_flat and args.schedule == "cosine":
        parser.error("--until-flat needs --schedule trapezoid: a cosine has its end from the start")
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
        left = " (what was handed to Slurm goes on)" if args.launcher != "none" else ""
        print(f"interrupted; the same command goes on from here{left}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run_tool(main))
