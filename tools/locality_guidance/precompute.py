#!/usr/bin/env python
"""Write a teacher's features of its training images to a store, for offline guidance.

The config is the teacher's training config, its images those of train_dataloader in the
transforms of val_dataloader; or a guided config, whose guidance.teacher sees the whole images of
train_dataloader at its size. A run that was interrupted goes on where it stopped.
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
        help="the teacher's checkpoint; default: that of a guided config",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--stages",
        type=int,
        nargs="+",
        help="stages of the teacher; default: those of a guided config, else 0 1 2",
    )
    parser.add_argument(
        "--dtype",
        choices=["float16", "float32"],
        default="float16",
        help="precision of the features; default: float16",
    )
    parser.add_argument("--batch-size", type=positive, default=256, help="default: 256")
    parser.add_argument("--num-workers", type=int, help="default: those of val_dataloader")
    parser.add_argument(
        "--chunk",
        type=positive,
        default=2048,
        help="images that a kill costs at most; default: 2048",
    )
    add_device_flag(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew, and replace a store that is there"
    )
    parser.add_argument(
        "--mirrored",
        action="store_true",
        help="store the mirrored images' features too: exact flips at twice the size",
    )
    add_trust_flag(parser)
    return parser.parse_args(argv)


def _checkpoint(cfg, given: Path | None) -> str | None:
    """The teacher's checkpoint; None for one of timm that needs none."""
    from smallvit.engine.checkpoint.reading import require_checkpoint

    if given is None and "guidance" not in cfg.model:
        raise UserError(
            "a teacher's own config needs its checkpoint: precompute.py CONFIG CHECKPOINT --out DIR"
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
