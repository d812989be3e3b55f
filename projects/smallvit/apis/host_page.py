"""The page with the table of hosts: written row by row, and read again to go on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from importlib import import_module
from pathlib import Path

from smallvit.apis.host_checks import CHECKS
from smallvit.apis.host_table import LIBRARIES, USES, HostRow, names
from smallvit.utils.files import write_whole

_HEAD = """# Which backbones are hosts

Every backbone class that MMPretrain, mmdet and mmseg export, and a small network of each of timm's
modules of models, built at a small size and run on images that are not square (where it takes
such), with random weights on a CPU, by {versions}; last written on {day}:

{counts}

- **shortcut**: DW shortcuts beside all its blocks. "yes" means that all of these hold:
  {checks}.
- **student**: locality guidance of its blocks by a ResNet, with a gradient.
- **teacher**: `guidance.teacher.model` takes it, and gets the map of a stage; whether it teaches
  well is not asked.
- **exit**: an exit of `DynamicViT`, without reuse.
- **detector**, **segmentor**: a step of a RetinaNet, and of an FCN, over the maps that it returns,
  with shortcuts in it where it takes them (of MMPretrain with `out_type="featmap"`).

timm's networks are built as `smallvit.TimmBackbone`. "what" are the numbers of blocks of one form,
and the layout of the first, or why it is no host: such a class is taught by the lines of
`register_host` in the message, see [README](README.md), if it has modules that return what they
take in shape. A number in parentheses is that of the reason behind the table.

The page is written by a command; `--missing` goes on where it ended, `--library` and `--only` renew
some rows:

```bash
smallvit hosts --out projects/smallvit/hosts/BACKBONES.md
smallvit hosts --out projects/smallvit/hosts/BACKBONES.md --library timm --only vit
```

That each still does what is told here is tested by
`bash tools/run_tests.sh -m exhaustive -k as_the_page_says`, which makes every row again.
"""
_NOTE = re.compile(r"^(\d+)\. (.*)$")


def counts(found: Sequence[HostRow]) -> list[str]:
    """How many serve where, of each library.

    Args:
        found (Sequence[HostRow]): Rows.

    Returns:
        list[str]: A line of each library that has rows.
    """
    lines = []
    for library in dict.fromkeys(row.library for row in found):
        own = [row for row in found if row.library == library]
        parts = [f"{use} {sum(row.uses[use] == 'yes' for row in own)}" for use in USES]
        lines.append(f"{library}, of {len(own)}: {', '.join(parts)}")
    return lines


def as_line(row: HostRow, notes: list[str] | None = None) -> str:
    """A row as Markdown.

    Args:
        row (HostRow): The row.
        notes (list[str], optional): Reasons so far, to which new ones are added, and whose numbers
            stand in the row. Defaults to None: the reasons stand there themselves.

    Returns:
        str: A line.
    """
    cells = [row.uses[use] for use in USES]
    if notes is not None:
        cells = [_numbered(cell, notes) for cell in cells]
    cells = [row.library, row.name, *cells, row.what]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _numbered(cell: str, notes: list[str]) -> str:
    if cell in ("yes", "no"):
        return cell
    if cell not in notes:
        notes.append(cell)
    return f"no ({notes.index(cell) + 1})"


def as_page(found: Sequence[HostRow]) -> str:
    """The whole page.

    Args:
        found (Sequence[HostRow]): Rows in any order.

    Returns:
        str: Markdown that ends with a newline.
    """
    # By their modules, which the forks have too; their distributions have other names.
    modules = ("torch", "timm", "mmpretrain", "mmdet", "mmseg")
    versions = (f"{name} {import_module(name).__version__}" for name in modules)
    ordered = sorted(found, key=lambda row: (LIBRARIES.index(row.library), row.name))
    notes: list[str] = []
    lines = [as_line(row, notes) for row in ordered]
    head = _HEAD.format(
        day=date.today(),
        versions=", ".join(versions),
        counts="\n".join(f"- {line}" for line in counts(ordered)),
        checks=", ".join(CHECKS),
    )
    titles = ["library", "backbone", *USES, "what"]
    table = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|", *lines]
    reasons = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([head, *table, "", *reasons]) + "\n"


def read_page(path: Path) -> list[HostRow]:
    """Rows of a page.

    Args:
        path (Path): A file of :func:`as_page`, or one that is not there.

    Returns:
        list[HostRow]: Its rows.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    notes = {m[1]: m[2] for line in lines if (m := _NOTE.match(line))}
    found = []
    for line in lines:
        cells = line.strip("|").split("|")
        if len(cells) != len(USES) + 3 or cells[0].strip() not in LIBRARIES:
            continue
        library, name, *uses, what = (cell.strip() for cell in cells)
        plain = [notes.get(cell[4:-1], cell) if cell.startswith("no (") else cell for cell in uses]
        found.append(HostRow(library, name, what, dict(zip(USES, plain, strict=True))))
    return found


class Page:
    """A page that is renewed row by row, so that a run which was stopped is gone on with.

    Args:
        path (Path): Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = {(row.library, row.name): row for row in read_page(path)}

    def has(self, library: str, name: str) -> bool:
        """Whether it has a row."""
        return (library, name) in self.rows

    def put(self, row: HostRow) -> None:
        """Put a row in, and write the page."""
        self.rows[row.library, row.name] = row
        write_whole(self.path, as_page(list(self.rows.values())))

    def forget_gone(self, library: str) -> None:
        """Leave out rows of what the library no longer has."""
        there = set(names(library))
        self.rows = {k: v for k, v in self.rows.items() if k[0] != library or k[1] in there}
