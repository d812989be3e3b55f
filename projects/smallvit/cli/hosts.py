"""Print which backbones of the libraries are hosts, of plugins such as the DW shortcut."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from smallvit.cli.arguments import tool_parser

LIBRARIES = ("mmpretrain", "mmdet", "mmseg", "timm")
DESCRIPTION = """List every backbone class of the libraries that are installed, and whether it takes
shortcuts and guidance; each is built small and run, so all together take minutes."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit hosts``.

    Args:
        argv (Sequence[str], optional): Defaults to None, which takes the command line's.

    Returns:
        argparse.Namespace: The arguments.
    """
    parser = tool_parser(DESCRIPTION)
    parser.add_argument("--library", choices=LIBRARIES, help="default: all that are installed")
    parser.add_argument("--only", metavar="PART", default="", help="names with this in them")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit hosts``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.

    Raises:
        UserError: If no backbone has such a name.
    """
    args = parse_args(argv)
    from importlib.util import find_spec

    from smallvit.analysis.host_table import as_markdown, rows
    from smallvit.errors import UserError

    wanted = LIBRARIES if args.library is None else (args.library,)
    found = []
    for library in wanted:
        if find_spec(library) is None:
            print(f"{library} is not installed")
            continue
        found += rows(library, args.only)
    if not found:
        raise UserError(f"no backbone of {', '.join(wanted)} has {args.only!r} in its name")
    print(as_markdown(found), end="")
