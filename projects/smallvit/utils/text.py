"""Formatting of lists in messages."""

from __future__ import annotations

from collections.abc import Sequence

#: Maximum number of problems of one kind in a message.
SHOWN = 10


def shorten(lines: Sequence[str]) -> str:
    """Join the first lines of a list, and count the rest.

    Args:
        lines (Sequence[str]): Lines to join.

    Returns:
        str: The joined text.
    """
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join([*lines[:SHOWN], *more])


def join_names(names: Sequence, shown: int = 12) -> str:
    """Join names with commas; a long list is cut and its length appended.

    Args:
        names (Sequence): Names to join.
        shown (int): Maximum number of names. Defaults to 12.

    Returns:
        str: The joined names in one line.
    """
    more = f", ... ({len(names)})" if len(names) > shown else ""
    return ", ".join(map(str, list(names)[:shown])) + more
