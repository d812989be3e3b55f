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
