"""Pretrain the backbone of a model on unlabeled images.

The images come from a folder of any layout or a COCO file; labels are not read. The command writes
a config to the work directory and trains it. To train with labels afterwards, run
smallvit train MODEL --data PATH --pretrained WORK_DIR.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from smallvit.cli import run_tool
from smallvit.cli.arguments import positive, tool_parser
from smallvit.cli.band_flags import add_band_flags, bands_of
from smallvit.cli.own_data import learning_rate

METHODS = {
    "masked": "predict masked patches (MAE), or pixels (SimMIM) if patches cannot be dropped",
    "instance": "discriminate each image from all others",
    "views": "predict the output of a moving-average teacher for a larger crop",
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit pretrain``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = tool_parser(__doc__)
    parser.add_argument("model", help="dhvt-t, dwnet-t, deit-ti, ..., timm:NAME or mmpretrain:NAME")
    parser.add_argument("--data", required=True, metavar="PATH", help="a folder, or a COCO file")
    parser.add_argument(
        "--method",
        choices=list(METHODS),
        default="masked",
        help="; ".join(f"{name}: {text}" for name, text in METHODS.items()) + " (default: masked)",
    )
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/pretrain_...")
    parser.add_argument("--epochs", type=positive, metavar="N", help="default: depends on the data")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="default: 64 or fewer")
    parser.add_argument(
        "--image-size", type=positive, metavar="N", help="default: depends on the data"
    )
    parser.add_argument("--lr", type=learning_rate, help="default: 5e-4 for a batch size of 64")
    add_band_flags(parser)
    parser.add_argument("--seed", type=int, help="training seed; default: 0")
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--resume", action="store_true", help="resume from the newest checkpoint")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="write the config and print the plan without training",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", metavar="KEY=VALUE", help="as for smallvit train"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run ``smallvit pretrain``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        int | None: Exit status.
    """
    args = parse_args(argv)
    from smallvit.apis.pretraining import find_images, plan_pretraining, write_pretraining
    from smallvit.cli.own_data import command_line, default_work_dir
    from smallvit.datasets.class_folders import EXTENSIONS
    from smallvit.datasets.io.bands import BAND_ENDINGS
    from smallvit.datasets.recognition.survey import look_at, look_at_bands
    from smallvit.engine.work_folder import hold

    args.config = args.model
    work_dir = args.work_dir or str(
        Path(default_work_dir(args)).with_name(
            f"pretrain-{args.method}_{Path(default_work_dir(args)).name}"
        )
    )
    bands = bands_of(args)
    images = find_images(args.data, EXTENSIONS if bands is None else BAND_ENDINGS)
    survey = look_at(images.paths) if bands is None else look_at_bands(images.paths, bands)
    plan = plan_pretraining(
        args.model,
        args.method,
        images,
        survey,
        size=args.image_size,
        batch_size=args.batch_size,
        epochs=args.epochs,
        lr=args.lr,
        seed=args.seed,
    )
    hold(work_dir)
    path = write_pretraining(plan, work_dir, command_line(argv))
    step = f"batch size {plan.batch_size}, {plan.steps} steps per epoch, {plan.epochs} epochs"
    count = len(images.paths)
    note = f" ({images.note})" if images.note else ""
    lines = [
        f"images:     {count} of {images.root}{note}, {plan.size} pixels, {survey.note}",
        f"model:      backbone of {args.model} ({plan.base})",
        f"method:     {plan.made.note}",
        f"schedule:   {step}, learning rate {plan.lr:g}",
        f"config:     {path}",
    ]
    print("\n".join(lines), flush=True)
    if args.dry_run:
        print(f"dry run: train with smallvit train {shlex.quote(path)}")
        return None
    status = _train(args, path)
    if not status:
        more = "" if bands is None else f" --channels {bands.channels} ..."
        print(
            f"to use the backbone: smallvit train {args.model} --data PATH "
            f"--image-size {plan.size} --pretrained {shlex.quote(work_dir)}{more}"
        )
    return status


def _train(args: argparse.Namespace, path: str) -> int | None:
    from smallvit.cli.main import tool_module

    argv = [path]
    argv += ["--amp"] if args.amp else []
    argv += ["--resume"] if args.resume else []
    argv += ["--cfg-options", *args.cfg_options] if args.cfg_options else []
    return tool_module("train.py").main(argv)


if __name__ == "__main__":
    sys.exit(run_tool(main, preemptible=True))
