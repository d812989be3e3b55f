"""Missing OpenMMLab packages: every tool prints how to install them."""

import json
import subprocess
import sys

import pytest

from smallvit.cli import requirements
from tool_helpers import ROOT

TOOLS = sorted(
    str(path)
    for path in (ROOT / "tools").rglob("*.py")
    if "run_tool(" in path.read_text() and "__main__" in path.read_text()
)
HIDE_AND_RUN = """
import contextlib, importlib.machinery, io, json, runpy, sys

find = importlib.machinery.PathFinder.find_spec
hidden = {"mmengine", "mmcv", "mmpretrain", "mmdet", "mmseg"}
importlib.machinery.PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name in hidden else find(name, path, target)
)
said = {}
for tool in sys.argv[1:]:
    sys.argv = [tool, "config.py"]
    try:
        if tool == "smallvit":
            runpy.run_module("smallvit", run_name="__main__")
        else:
            runpy.run_path(tool, run_name="__main__")
    except SystemExit as left:
        said[tool] = left.code
    except Exception as error:
        said[tool] = repr(error)
print(json.dumps(said))
"""


def test_every_tool_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", HIDE_AND_RUN, *TOOLS, "smallvit"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said) > 15
    for tool, text in said.items():
        assert str(text).startswith("error: mmengine, mmcv, mmpretrain are not installed"), tool
        assert all(way in text for way in ("'.[mm]'", "'.[onedl]'", "check_env.py")), tool


def test_one_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(requirements, "NEEDED", ("mmengine", "mmnothing"))
    with pytest.raises(SystemExit, match="mmnothing is not installed"):
        requirements.require_mm_packages()
