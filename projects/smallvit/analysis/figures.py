"""Matplotlib figures without a window, written atomically."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from smallvit.utils.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Create an empty figure.

    Args:
        width (float): In inches.
        height (float): In inches.

    Returns:
        Figure: At 120 dots an inch, with room made for labels.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def save_figure(figure: Figure, path: str, **options: Any) -> None:
    """Write a figure, creating its folder if necessary.

    Its texts are shown as they are: names of classes and runs are no formulas, and a dollar sign
    in one must not end the picture.

    Args:
        figure (Figure): What to write.
        path (str): The file; its suffix chooses the format.
        **options: Those of ``Figure.savefig``.
    """
    _show_texts_as_they_are(figure)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with whole_file(path) as temporary:
        figure.savefig(temporary, **options)


def _show_texts_as_they_are(figure: Figure) -> None:
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    # Tick labels are excluded, as matplotlib writes powers as math text.
    numbers = set()
    for axis in figure.findobj(Axis):
        numbers |= set(axis.findobj(Text)) - {axis.label}
    for text in set(figure.findobj(Text)) - numbers:
        text.set_parse_math(False)
        text.set_usetex(False)
