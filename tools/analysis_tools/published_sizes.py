#!/usr/bin/env python
"""Compare parameters and FLOPs of our models with the published ones.

Exit status 1 if any differs by more than 2% without an explanation in its metafile.yml.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import run_tool, tool_parser


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="models to measure, such as 'dwnet-t_*'")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(argv)


def main(argv=None, root: Path | None = None) -> int:
    args = parse_args(argv)

    from smallvit.analysis.published_sizes import (
        ROOT,
        as_json,
        markdown,
        measure,
        read_rows,
        select,
    )

    root = root or ROOT
    rows = select(read_rows(root), args.only)
    for row in rows:
        print(f"counting {row.name} ...", file=sys.stderr)
        measure(row, root)
    print(as_json(rows) if args.json else markdown(rows))
    unexplained = [
        f"{row.name} ({', '.join(row.unexplained())})" for row in rows if row.unexplained()
    ]
    if unexplained:
        print(f"unexplained differences: {'; '.join(unexplained)}", file=sys.stderr)
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(run_tool(main))
