"""Traversal of nested configs, and the location of the bundled ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over every value of a nested config with its dotted path.

    Args:
        node (Any): A config, dict, list or value.
        path (str): Path of the node. Defaults to "".

    Yields:
        tuple[str, Any]: Dotted path and value, outermost first.
    """
    if path:
        yield path, node
    if hasattr(node, "items"):
        children = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        return
    for key, child in list(children):
        yield from walk(child, f"{path}.{key}" if path else str(key))


def config_path(relative: str) -> str:
    """Absolute path of a bundled config, in a checkout or an installed package.

    Args:
        relative (str): Path below ``configs``, e.g. ``dwnet/dwnet-t_in1k.py``.

    Returns:
        str: The absolute path.
    """
    return str(Path(__file__).absolute().parents[1] / ".mim" / "configs" / relative)
