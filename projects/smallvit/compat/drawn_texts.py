"""Names of classes on drawn images, which are no formulas.

MMEngine's ``Visualizer`` draws texts with matplotlib, for which a dollar sign begins a formula:
a class called ``a$x_{$`` ends the test that draws it. To be left out where MMEngine draws texts
as they are (0.10 does not).
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from mmengine.visualization import Visualizer


def install() -> None:
    """Let every visualizer of this process show texts as they are."""
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
