"""Pretrain the backbone of a model on images without labels.

The images are those of a folder of any layout, or of a COCO file; labels are not read. A config
for them is written to the work folder and trained. smallvit train MODEL --data PATH
--pretrained WORK_DIR goes on with the backbone.
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
    "masked": "predict hidden patches (masked autoencoder), or pixels where none can be dropped",
    "instance": "tell each image from all others",
    "views": "predict a teacher's view of a larger crop",
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None: the command line.

    Returns:
        argparse.Namespace: What was given.
    """
    parser = tool_parser(__doc__)
    parser.add_argument("model", help="dhvt-t, dwnet-t, vit-t, ..., timm:NAME or mmpretrain:NAME")
    parser.add_argument("--data", required=True, metavar="PATH", help="a folder, or a COCO file")
    parser.add_argument(
        "--method",
        choices=list(METHODS),
        default="masked",
        help="; ".join(f"{name}: {text}" for name, text in METHODS.items()) + " (default: masked)",
    )
    parser.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/pretrain_...")
    parser.add_argument("--epochs", type=positive, metavar="N", help="default: by the images")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="default: 64 or fewer")
    parser.add_argument("--image-size", type=positive, metavar="N", help="default: by the images")
    parser.add_argument("--lr", type=learning_rate, help="default: 5e-4 for 64 images a step")
    add_band_flags(parser)
    parser.add_argument("--seed", type=int, help="of the training; default: 0")
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--resume", action="store_true", help="go on with what is there")
    parser.add_argument(
        "--dry-run", action="store_true", help="write the config, print the plan, train nothing"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", metavar="KEY=VALUE", help="as for smallvit train"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int | None:
    """Write the config of a pretraining, and train it.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None: the command line.

    Returns:
        int | None: The exit status.
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
    hold(work_dir)
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
    path = write_pretraining(plan, work_dir, command_line(argv))
    step = f"{plan.batch_size} images a step, {plan.steps} steps an epoch, {plan.epochs} epochs"
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
        print(f"nothing was trained; smallvit train {shlex.quote(path)} does")
        return None
    status = _train(args, path)
    if not status:
        more = "" if bands is None else f" --channels {bands.channels} ..."
        print(
            f"its backbone: smallvit train {args.model} --data PATH --image-size {plan.size} "
            f"--pretrained {shlex.quote(work_dir)}{more}"
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
