"""MMPretrain's progress bar is not written to files."""

import subprocess
import sys

import pytest

SCRIPT = """
import smallvit
from mmpretrain.utils.progress import track
for _ in track([0, 1], "Inference"):
    pass
print("NAMES")
"""


@pytest.mark.parametrize("before", ["", "import mmpretrain.utils.progress"])
def test_lines_of_a_file_are_whole(before):
    argv = [sys.executable, "-c", before + SCRIPT]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert found.stdout == "NAMES\n"


def test_the_bar_stays_in_terminals(monkeypatch):
    from mmpretrain.utils import progress
    from rich.console import Console
    from rich.live import Live

    from smallvit.compat import progress_bars

    monkeypatch.setattr(progress, "disable_progress_bar", False)
    monkeypatch.setattr(progress, "global_live", Live(console=Console(force_terminal=True)))
    progress_bars.install()
    assert not progress.disable_progress_bar
    monkeypatch.setattr(progress, "global_live", Live(console=Console(force_terminal=False)))
    progress_bars.install()
    assert progress.disable_progress_bar
