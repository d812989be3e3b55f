import json
import os

import pytest

from tool_helpers import load_tool, run_main

tool = load_tool("analysis_tools/benchmark_checkpoint.py")


def test_figures_of_each_format(tmp_path, capsys):
    out = tmp_path / "out.json"
    quick = ("--size", 1, "--tensors", 6, "--repeats", 2, "--json", out)
    assert run_main(tool.main, *quick) == 0
    found = json.loads(out.read_text())
    assert list(found["seconds"]) == ["a.pth", "legacy.pth", "a.safetensors"]
    assert all(size == pytest.approx(1, abs=0.1) for size in found["megabytes"].values())
    assert "MB/s" in capsys.readouterr().out


def test_the_checked_reader_verifies_checksums(tmp_path):
    from smallvit.engine.checkpoint import digests, reading
    from smallvit.errors import CheckpointError

    paths = tool.write_files(str(tmp_path), 1, 6)
    for name, path in paths.items():
        with open(path, "rb+") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(b"damage" * 10)
        with pytest.raises(CheckpointError, match="damaged"):
            tool.readers(paths)[f"{name}, with"]()
    tool.readers(paths)["a.pth, without"]()
    reading.trust_checkpoints(False)
    assert os.path.isfile(paths["legacy.pth"] + digests.ENDING)
