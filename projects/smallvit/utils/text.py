"""Lists in messages."""

from __future__ import annotations

from collections.abc import Sequence

#: Problems of one kind that a message names.
SHOWN = 10


def shorten(lines: Sequence[str]) -> str:
    """Join the first lines of a list, and count the rest.

    Args:
        lines (Sequence[str]): The lines.

    Returns:
        str: One text.
    """
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join([*lines[:SHOWN], *more])


def name_some(names: Sequence, shown: int = 12) -> str:
    """Join names by commas; of many the first ones and how many there are.

    Args:
        names (Sequence): The names.
        shown (int): How many are named. Defaults to 12.

    Returns:
        str: One line.
    """
    more = f", ... ({len(names)})" if len(names) > shown else ""
    return ", ".join(map(str, list(names)[:shown])) + more
