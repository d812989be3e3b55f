"""Import hook (``.pth`` file) for programs that do not import smallvit themselves."""

import subprocess
import sys

import pytest

from smallvit.cli import bridge
from smallvit.cli.main import main
from smallvit.errors import UserError
from tool_helpers import ROOT


@pytest.fixture
def packages(tmp_path, monkeypatch):
    monkeypatch.setattr(bridge, "folder", lambda: str(tmp_path))
    return tmp_path


def test_install_and_remove(packages, capsys):
    for action, said in (
        ("status", "not installed"),
        ("install", "bridge: installed"),
        ("status", "bridge: installed"),
        ("install", "bridge: installed"),
        ("remove", "removed"),
        ("remove", "not installed"),
    ):
        assert main(["bridge", action]) == 0
        assert said in capsys.readouterr().out
    assert list(packages.iterdir()) == []
    bridge.install()
    (packages / "_smallvit_bridge.py").write_text(f"{bridge.MARK}\nolder")
    assert "another version" in bridge.status()


def test_files_of_others_are_kept(packages):
    (packages / "_smallvit_bridge.py").write_text("mine")
    for action in (bridge.install, bridge.remove):
        with pytest.raises(UserError, match="was not written by smallvit"):
            action()
    assert [path.name for path in packages.iterdir()] == ["_smallvit_bridge.py"]


def run(packages, program):
    start = f"import site, sys; sys.path.append({str(ROOT / 'projects')!r}); "
    start += f"site.addsitedir({str(packages)!r}); "
    return subprocess.run(
        [sys.executable, "-c", start + program], capture_output=True, text=True, timeout=300
    )


def test_unrelated_programs_do_not_import_smallvit(packages):
    bridge.install()
    done = run(packages, "import json; print('smallvit' in sys.modules, len(sys.meta_path))")
    assert done.stdout.startswith("False"), done.stderr
    done = run(packages, "import mmengine.version; print('smallvit' in sys.modules)")
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.exhaustive
def test_mmdet_can_be_imported_first(packages):
    program = "from mmdet.apis import DetInferencer; import mmcv.ops; print(mmcv.ops.nms)"
    assert run(packages, program).returncode == 1
    bridge.install()
    done = run(packages, program)
    assert "function nms" in done.stdout, done.stderr
