"""Which backbones of the libraries are hosts: each class is built small, and looked at."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mmengine.registry import DefaultScope
from torch import nn

from smallvit.analysis.small_backbones import SMALL, small_timm_model
from smallvit.errors import HostError
from smallvit.hosts import view_host
from smallvit.registry import MODELS

#: The libraries, in the order of the table.
LIBRARIES = ("mmpretrain", "mmdet", "mmseg", "timm")
_LINES = " These lines settle it"


@dataclass(frozen=True)
class HostRow:
    """A row of the table.

    Args:
        library (str): "mmpretrain", "mmdet", "mmseg" or "timm".
        name (str): Class, or of timm the module of models.
        works (bool): Whether its blocks take shortcuts, and guidance as a student.
        teaches (bool): Whether it can be told which stages' maps to return.
        note (str): Blocks and form, or why it is refused.
    """

    library: str
    name: str
    works: bool
    teaches: bool
    note: str


def names(library: str) -> list[str]:
    """The backbone classes that a library exports, of timm its modules of models.

    Args:
        library (str): One of :data:`LIBRARIES`.

    Returns:
        list[str]: Sorted names.
    """
    if library == "timm":
        import timm

        return sorted(timm.list_modules())
    return sorted(import_module(f"{library}.models.backbones").__all__)


def rows(library: str, only: str = "") -> Iterator[HostRow]:
    """Build each backbone of a library and look whether it is a host.

    Args:
        library (str): One of :data:`LIBRARIES`.
        only (str): Part of the names to look at. Defaults to "", all.

    Yields:
        HostRow: One after the other, for each takes a second or so.
    """
    for name in names(library):
        if only.lower() in name.lower():
            yield look(library, name)


def look(library: str, name: str) -> HostRow:
    """Build one backbone at a small size and look whether it is a host.

    Args:
        library (str): One of :data:`LIBRARIES`.
        name (str): One of :func:`names`.

    Returns:
        HostRow: What it is.
    """
    try:
        host = build(library, name)
    except Exception as error:
        message = f"{type(error).__name__}: {error}".split("\n")[0][:120]
        return HostRow(library, name, False, False, f"not built ({message})")
    teaches = _teaches(host)
    try:
        view = view_host(host)
    except HostError as error:
        why = str(error).split(_LINES)[0].partition(": ")[2].rstrip(".").split("\n")[0]
        return HostRow(library, name, False, teaches, why)
    stages = "+".join(str(len(stage)) for stage in view.stages)
    note = f"{stages} blocks, {view.blocks[0].layout}"
    return HostRow(library, name, True, teaches, note)


def build(library: str, name: str) -> nn.Module:
    """Build one backbone at a small size.

    Args:
        library (str): One of :data:`LIBRARIES`.
        name (str): One of :func:`names`.

    Returns:
        nn.Module: With random weights.
    """
    if library == "timm":
        import timm

        model, options = small_timm_model(name)
        return timm.create_model(model, **options)
    options: dict[str, Any] = SMALL[library].get(name, {})
    with DefaultScope.overwrite_default_scope(library):  # some look their parts up there
        return MODELS.build(dict(type=f"{library}.{name}", **options))


def _teaches(host: nn.Module) -> bool:
    if hasattr(host, "forward_intermediates"):
        return True
    return "out_indices" in inspect.signature(type(host).__init__).parameters


def as_markdown(found: list[HostRow]) -> str:
    """The table as Markdown, with the counts of each library in front.

    Args:
        found (list[HostRow]): Rows.

    Returns:
        str: Text that ends with a newline.
    """
    lines = []
    for library in dict.fromkeys(row.library for row in found):
        own = [row for row in found if row.library == library]
        count = sum(row.works for row in own)
        lines.append(f"{library}: {count} of {len(own)} are hosts")
    lines += [
        "",
        "| library | backbone | shortcut, student | teacher | what |",
        "|---|---|---|---|---|",
    ]
    for row in found:
        cells = (row.library, row.name, _word(row.works), _word(row.teaches), row.note)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
