"""List the supported uses of each backbone class: plugins, detectors, segmentors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from smallvit.cli.arguments import tool_parser

LIBRARIES = ("mmpretrain", "mmdet", "mmseg", "timm")
DESCRIPTION = """List every backbone class of the installed libraries, and whether it supports DW
shortcuts, guidance as student or teacher, cascade exits, detectors and segmentors. Each backbone is
built at a small size and run, which takes half an hour in total; rows are printed immediately."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit hosts``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = tool_parser(DESCRIPTION)
    parser.add_argument("--library", choices=LIBRARIES, help="default: all installed libraries")
    parser.add_argument(
        "--only",
        metavar="PART",
        nargs="+",
        action="extend",
        help="only names that contain one of these; default: all",
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="page to write; existing rows are updated"
    )
    parser.add_argument(
        "--missing", action="store_true", help="check only backbones that have no row in FILE"
    )
    args = parser.parse_args(argv)
    if args.missing and args.out is None:
        parser.error("--missing requires --out FILE, whose rows are kept")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit hosts``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Raises:
        UserError: If no backbone matches ``--only``.
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
        raise UserError(f"no backbone of {', '.join(wanted)} contains {parts} in its name")
    found = []
    for library, name in asked:
        if args.missing and page.has(library, name):
            continue
        found.append(host_table.look(library, name))
        print(host_page.as_line(found[-1]), flush=True)
        if page is not None:
            page.put(found[-1])
    print("\n".join(host_page.counts(found)))
