#!/usr/bin/env python
"""Convert a cascade with its thresholds from the official .pth.tar layout, or back.

Converts weights, FLOPs, thresholds and curves. The official layout contains
model_state_dict, flops, anytime_classification, dynamic_threshold and
budgeted_batch_classification.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, add_trust_flag, read_as_asked, require_free
from smallvit.errors import about


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("src", type=Path, help="input checkpoint")
    parser.add_argument("dst", type=Path, help="output file")
    parser.add_argument(
        "--reverse", action="store_true", help="convert our layout to the official one"
    )
    add_overwrite_flag(parser)
    add_trust_flag(parser)
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    if not args.dst.absolute().parent.is_dir():
        raise UserError(f"no such folder: {args.dst.parent}; create it first")
    require_free(args.dst, args.overwrite, sources=[args.src])

    from smallvit.plugins.multi_exit.storage import (
        from_official,
        read_checkpoint,
        to_official,
        write_checkpoint,
    )

    read_as_asked(args)
    content = read_checkpoint(args.src)
    with about(args.src):
        converted = to_official(content) if args.reverse else from_official(content)
    write_checkpoint(converted, args.dst)
    entries = ", ".join(key for key in converted if not key.endswith("state_dict"))
    print(f"wrote {args.dst}: weights{f', {entries}' if entries else ', no thresholds'}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
