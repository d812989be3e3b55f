"""Print where backbones of the libraries serve: with shortcuts, guidance, cascades, dense tasks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smallvit.cli.arguments import tool_parser

LIBRARIES = ("mmpretrain", "mmdet", "mmseg", "timm")
DESCRIPTION = """List every backbone class of the libraries that are installed, and whether it takes
shortcuts and guidance, teaches, ends a cascade, and serves a detector and a segmentor. Each is
built small and run, so all together take half an hour; rows are printed as they come."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit hosts``.

    Args:
        argv (Sequence[str], optional): Defaults to None, which takes the command line's.

    Returns:
        argparse.Namespace: The arguments.
    """
    parser = tool_parser(DESCRIPTION)
    parser.add_argument("--library", choices=LIBRARIES, help="default: all that are installed")
    parser.add_argument(
        "--only",
        metavar="PART",
        nargs="+",
        action="extend",
        help="names with one of these in them; default: all",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="page to write; rows that are there are renewed"
    )
    parser.add_argument(
        "--missing", action="store_true", help="look only at what FILE has no row of"
    )
    args = parser.parse_args(argv)
    if args.missing and args.out is None:
        parser.error("--missing needs --out FILE, whose rows are left as they are")
    return args


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

    from smallvit.apis import host_page, host_table
    from smallvit.errors import UserError

    wanted = LIBRARIES if args.library is None else (args.library,)
    there = [library for library in wanted if find_spec(library) is not None]
    for library in sorted(set(wanted) - set(there)):
        print(f"{library} is not installed")
    page = host_page.Page(args.out) if args.out else None
    asked = [
        (library, name)
        for library in there
        for name in host_table.names(library)
        if args.only is None or any(part.lower() in name.lower() for part in args.only)
    ]
    if not asked:
        parts = " or ".join(map(repr, args.only))
        raise UserError(f"no backbone of {', '.join(wanted)} has {parts} in its name")
    found = []
    for library, name in asked:
        if args.missing and page.has(library, name):
            continue
        found.append(host_table.look(library, name))
        print(host_page.as_line(found[-1]), flush=True)
        if page is not None:
            page.put(found[-1])
    print("\n".join(host_page.counts(found)))
