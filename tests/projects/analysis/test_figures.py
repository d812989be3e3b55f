"""Class names in figures are shown literally, without math formatting."""

import numpy as np
import pytest

from smallvit.analysis.figures import new_figure, save_figure

NAME = "a$x_{$"


def draw(name):
    figure = new_figure(3, 3)
    figure.suptitle(name)
    axis = figure.subplots()
    axis.plot([1, 1000], [1, 2], label=name)
    axis.set(xscale="log", title=name, xlabel=name, ylabel=name)
    axis.text(0.5, 0.5, name)
    axis.legend(title=name)
    return figure


def test_names_are_not_parsed_as_formulas(tmp_path):
    figure = draw(NAME)
    with pytest.raises(ValueError, match=r"ParseSyntaxException|ParseException"):
        figure.savefig(tmp_path / "bare.png")
    save_figure(figure, str(tmp_path / "figure.png"))
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_powers_on_an_axis_stay_formulas(tmp_path):
    figure = draw("$x$")
    save_figure(figure, str(tmp_path / "figure.png"))
    axis = figure.axes[0]
    ticks = [label for label in axis.get_xticklabels() if label.get_text()]
    assert any("$" in label.get_text() and label.get_parse_math() for label in ticks)
    assert not axis.title.get_parse_math()
    assert not axis.xaxis.label.get_parse_math()


def test_drawn_classes_are_not_parsed_as_formulas():
    from mmengine.visualization import Visualizer

    from smallvit.compat import drawn_texts

    drawn_texts.install()
    visualizer = Visualizer(image=np.zeros((60, 60, 3), np.uint8))
    visualizer.draw_texts(NAME, np.array([10, 10]), colors="white")
    assert visualizer.get_image().max() > 0
