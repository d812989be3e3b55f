"""Literal class names on drawn images, instead of math text.

MMEngine's ``Visualizer`` draws text with matplotlib, where a dollar sign starts a formula, so that
drawing a class named ``a$x_{$`` raises an error. Remove this once MMEngine draws text literally
(0.10 does not).
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from mmengine.visualization import Visualizer


def install() -> None:
    """Make every visualizer of this process draw text literally."""
    draw = Visualizer.draw_texts
    if draw.__module__ == __name__:
        return

    @wraps(draw)
    def draw_texts(self: Visualizer, *args: Any, **kwargs: Any) -> Any:
        drawn = draw(self, *args, **kwargs)
        for text in self.ax_save.texts:
            text.set_parse_math(False)
        return drawn

    draw_texts.__module__ = __name__
    Visualizer.draw_texts = draw_texts
