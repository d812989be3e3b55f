"""Matplotlib figures without a display, written atomically."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from smallvit.utils.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure.

    Args:
        width (float): Width in inches.
        height (float): Height in inches.

    Returns:
        Figure: Figure with 120 dots per inch and constrained layout.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def save_figure(figure: Figure, path: str, **options: Any) -> None:
    """Write a figure, creating its folder if necessary.

    Text is drawn literally, because a dollar sign in the name of a class or run would otherwise
    start a formula and raise an error.

    Args:
        figure (Figure): Figure to write.
        path (str): Path to write; the extension determines the format.
        **options: Arguments of ``Figure.savefig``.
    """
    _show_texts_as_they_are(figure)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with whole_file(path) as temporary:
        figure.savefig(temporary, **options)


def _show_texts_as_they_are(figure: Figure) -> None:
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    # Tick labels are excluded because matplotlib formats powers as math text.
    numbers = set()
    for axis in figure.findobj(Axis):
        numbers |= set(axis.findobj(Text)) - {axis.label}
    for text in set(figure.findobj(Text)) - numbers:
        text.set_parse_math(False)
        text.set_usetex(False)
