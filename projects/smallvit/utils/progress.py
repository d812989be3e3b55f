"""Progress bars of long loops."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], title: str, shown: bool = True) -> Iterable[T]:
    """Iterate with a progress bar on the standard error stream.

    The bar is redrawn in a terminal; elsewhere, only its end is written.

    Args:
        items (Iterable): Items, whose number is known if they have a length.
        title (str): Text in front of the bar.
        shown (bool): Whether to show the bar. Defaults to True.

    Returns:
        Iterable: The same items.
    """
    if not shown:
        return items
    from rich.console import Console
    from rich.progress import track as track_items

    total = len(items) if isinstance(items, Sized) else None
    return track_items(items, title, total, console=Console(stderr=True))
