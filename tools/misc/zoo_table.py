#!/usr/bin/env python
"""Update the table of official models in README.md from smallvit.converters."""

import argparse
import sys
from pathlib import Path

from smallvit.utils.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- zoo: tools/misc/zoo_table.py -->", "<!-- /zoo -->"


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="do not write; exit status 1 if the table is out of date",
    )
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="file to update")
    return parser.parse_args(argv)


def table() -> str:
    """Build the table, with one row per config and its official models.

    Returns:
        str: Markdown table.
    """
    from smallvit.converters import official_models

    names: dict[tuple[str, str], list[str]] = {}
    for name, model in official_models().items():
        folder, file = Path(model.config).parts[-2:]
        names.setdefault((model.system, f"configs/{folder}/{file}"), []).append(name)
    lines = ["| system | our config | official models |", "|---|---|---|"]
    for (system, config), models in names.items():
        link = f"[{Path(config).stem}]({config})"
        lines.append(f"| `{system}` | {link} | {', '.join(f'`{name}`' for name in models)} |")
    return "\n".join(lines)


def main(argv=None) -> int:
    args = parse_args(argv)
    text = args.readme.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{args.readme} lacks the lines {BEGIN} and {END} around the table")
    updated = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if updated == text:
        return 0
    if args.check:
        print(f"{args.readme}: the zoo table is out of date; run python tools/misc/zoo_table.py")
        return 1
    write_whole(args.readme, updated)
    return 0


if __name__ == "__main__":
    sys.exit(main())
