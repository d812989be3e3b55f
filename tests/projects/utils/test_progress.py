"""Progress bars of long loops."""

import pytest

from smallvit.utils.progress import track


def unsized():
    yield from range(3)


@pytest.mark.parametrize("items", [range(3), unsized()])
def test_items_are_unchanged_and_the_bar_is_not_in_the_output(items, capsys):
    assert list(track(items, "thresholds")) == [0, 1, 2]
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("thresholds") == 1  # outside of a terminal, the bar is written once


def test_a_hidden_bar(capsys):
    assert list(track(range(3), "thresholds", shown=False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
