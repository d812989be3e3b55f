#!/usr/bin/env python
"""Write a teacher's features of its training images to a store, for offline guidance.

The config is the teacher's training config, its images those of train_dataloader in the
transforms of val_dataloader. A run that was interrupted goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, base_parser, run_tool
from smallvit.cli.arguments import add_trust_flag, read_as_asked


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="the teacher's checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--stages",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        help="stages of the teacher, as in guidance.teacher.stages; default: 0 1 2",
    )
    parser.add_argument(
        "--dtype",
        choices=["float16", "float32"],
        default="float16",
        help="precision of the features; default: float16",
    )
    parser.add_argument("--batch-size", type=int, default=256, help="default: 256")
    parser.add_argument("--num-workers", type=int, help="default: those of val_dataloader")
    parser.add_argument(
        "--chunk", type=int, default=2048, help="images that a kill costs at most; default: 2048"
    )
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew, and replace a store that is there"
    )
    add_trust_flag(parser)
    args = parser.parse_args(argv)
    for name in ("batch_size", "chunk"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be positive".replace("_", "-"))
    return args


def is_there(args: argparse.Namespace, header) -> bool:
    """Whether the store is finished already; one of something else is an error."""
    from smallvit.plugins.locality_guidance.store import FeatureStore

    if args.fresh or not args.out.exists():
        return False
    differences = header.differences(FeatureStore(args.out).header)
    if differences:
        lines = "\n  ".join(differences)
        raise UserError(
            f"{args.out} is a store of something else:\n  {lines}\n  (--fresh replaces it, another "
            "--out leaves it)"
        )
    print(f"{args.out} is complete: {header.length} images; nothing to do")
    return True


def write(args: argparse.Namespace, lesson, teacher, header, keys, num_workers: int) -> None:
    from mmengine.utils import ProgressBar

    from smallvit.plugins.locality_guidance.precompute import stage_rows
    from smallvit.plugins.locality_guidance.store_writer import StoreWriter

    writer = StoreWriter(args.out, header, keys, chunk=args.chunk, fresh=args.fresh)
    if writer.finished:
        print(f"going on after {writer.finished} of {header.length} images")
    bar = ProgressBar(header.length - writer.finished, file=sys.stdout)
    for batch in lesson.batches(writer.finished, args.batch_size, num_workers):
        writer.append(stage_rows(teacher, batch, args.device))
        bar.update(len(batch))
    writer.close()
    size = header.row_bytes * header.length / 2**20
    shapes = ", ".join("x".join(map(str, shape)) for shape in header.shapes)
    print(f"\nwrote {args.out}: {header.length} images, maps {shapes}, {size:.1f} MiB")


def main(argv=None) -> None:
    args = parse_args(argv)

    from smallvit.cli.config import load_config, merge_overrides, require_keys

    cfg = load_config(args.config)
    require_keys(cfg, ("model", "train_dataloader", "val_dataloader"), "precomputing")
    merge_overrides(cfg, args.cfg_options)

    import torch

    from smallvit.engine.checkpoint.reading import require_checkpoint
    from smallvit.plugins.locality_guidance.precompute import Lesson, describe, load_teacher

    read_as_asked(args)
    args.checkpoint = require_checkpoint(args.checkpoint)
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {args.device}: torch sees no CUDA device")
    args.out = args.out.expanduser()
    lesson = Lesson(cfg)
    keys = lesson.keys()
    teacher = load_teacher(cfg, args.checkpoint, args.stages, lesson[0].shape[-1])
    header = describe(cfg, lesson, teacher, keys)
    header.dtype = args.dtype
    if is_there(args, header):
        return
    if args.num_workers is None:
        args.num_workers = cfg.val_dataloader.get("num_workers", 0)
    write(args, lesson, teacher, header, keys, args.num_workers)


if __name__ == "__main__":
    sys.exit(run_tool(main))
