#!/usr/bin/env python
"""Precompute the features of a teacher on training images, for offline guidance.

The config is either the training config of the teacher, with the images of train_dataloader and the
transforms of val_dataloader, or a guided config, whose guidance.teacher receives the whole images
of train_dataloader at its input size. Run the same command again to resume after an interruption.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, base_parser, run_tool
from smallvit.cli.arguments import (
    add_device_flag,
    add_trust_flag,
    choose_device,
    positive,
    read_as_asked,
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="checkpoint of the teacher; default: from the guided config",
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--stages",
        type=int,
        nargs="+",
        help="teacher stages; default: from the guided config, otherwise 0 1 2",
    )
    parser.add_argument(
        "--dtype",
        choices=["float16", "float32"],
        default="float16",
        help="dtype of the features; default: float16",
    )
    parser.add_argument("--batch-size", type=positive, default=256, help="default: 256")
    parser.add_argument("--num-workers", type=int, help="default: that of val_dataloader")
    parser.add_argument(
        "--chunk",
        type=positive,
        default=2048,
        help="images between saves, lost at most when killed; default: 2048",
    )
    add_device_flag(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="start over and replace an existing store"
    )
    parser.add_argument(
        "--mirrored",
        action="store_true",
        help="also store features of flipped images: exact flips at twice the size",
    )
    add_trust_flag(parser)
    return parser.parse_args(argv)


def _checkpoint(cfg, given: Path | None) -> str | None:
    """Return the checkpoint of the teacher; None if timm provides the weights."""
    from smallvit.engine.checkpoint.reading import require_checkpoint

    if given is None and "guidance" not in cfg.model:
        raise UserError(
            "a teacher config requires a checkpoint: precompute.py CONFIG CHECKPOINT --out DIR"
        )
    if given is None:
        given = (cfg.model.guidance.get("teacher") or {}).get("checkpoint")
    return None if given is None else require_checkpoint(given)


def main(argv=None) -> None:
    args = parse_args(argv)

    from smallvit.engine.pipeline import resolve
    from smallvit.plugins.locality_guidance.precompute import Precomputing, write_store

    read_as_asked(args)
    needs = ("model", "train_dataloader", "val_dataloader")
    cfg = resolve(args.config, args.cfg_options, needs, "precomputing")
    checkpoint = _checkpoint(cfg, args.checkpoint)
    how = Precomputing(
        args.stages,
        args.dtype,
        args.batch_size,
        args.num_workers,
        args.chunk,
        choose_device(args.device),
        args.fresh,
        args.mirrored,
    )
    write_store(cfg, checkpoint, args.out.expanduser(), how)


if __name__ == "__main__":
    sys.exit(run_tool(main))
