"""Table of official models in the README."""

import runpy
from pathlib import Path

import pytest

from smallvit.converters import official_models

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / "tools" / "misc" / "zoo_table.py"))


def test_the_readme_is_up_to_date():
    assert tool["main"](["--check"]) == 0


def test_every_official_model_has_a_row():
    table = tool["table"]()
    assert all(f"`{name}`" in table for name in official_models())


def test_an_old_table_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{tool['BEGIN']}\nold\n{tool['END']}\nafter\n")
    assert tool["main"](["--check", "--readme", str(readme)]) == 1
    assert tool["main"](["--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text
    assert tool["main"](["--check", "--readme", str(readme)]) == 0


def test_a_readme_without_marks_is_an_error(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(SystemExit, match="lacks the lines"):
        tool["main"](["--readme", str(readme)])
