"""Table of published model sizes: parsing, output and errors."""

import json
from functools import partial
from pathlib import Path

import pytest
import yaml

from smallvit.analysis import published_sizes
from tool_helpers import load_tool, run_main

CONFIG = """
default_scope = "mmpretrain"
model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.DWNet", arch="mini"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=256),
)
"""


tool = load_tool("analysis_tools/published_sizes.py")


@pytest.fixture
def zoo(tmp_path):
    """A repository with one model; returns a function that writes its metadata."""
    folder = tmp_path / "configs" / "mini"
    folder.mkdir(parents=True)
    (folder / "mini.py").write_text(CONFIG)

    def write(**metadata) -> Path:
        model = dict(Name="mini", Config="configs/mini/mini.py", Metadata=metadata)
        (folder / "metafile.yml").write_text(yaml.safe_dump(dict(Models=[model])))
        return tmp_path

    return write


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The size of that model, counted from its config."""
    from smallvit.analysis.complexity import complexity

    path = tmp_path_factory.mktemp("one") / "mini.py"
    path.write_text(CONFIG)
    return complexity(str(path), (32, 32))


def sizes(ours, factor=1.0, **more):
    published = dict(Parameters=round(ours["params"] * factor), FLOPs=ours["flops"])
    return {"Input Size": [32, 32], **published, **more}


def test_equal_sizes_pass(zoo, ours, capsys):
    assert tool.main([], root=zoo(**sizes(ours))) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 3
    assert table[2].startswith("| mini | 32x32 |")
    assert "+0.0%" in table[2]


def test_a_difference_needs_a_reason(zoo, ours, capsys):
    assert tool.main([], root=zoo(**sizes(ours, 1.5))) == 1
    captured = capsys.readouterr()
    assert "NOT EXPLAINED" in captured.out
    assert "mini (Parameters)" in captured.err
    reason = "counted without the head"
    assert tool.main([], root=zoo(**sizes(ours, 1.5, Differences=dict(Parameters=reason)))) == 0
    assert reason in capsys.readouterr().out


def test_json_has_both_values(zoo, ours, capsys):
    assert tool.main(["--json"], root=zoo(**sizes(ours, 0.5))) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["ours"]["Parameters"] == ours["params"]
    assert row["differences"]["Parameters"] == pytest.approx(1.0, rel=1e-4)
    assert row["unexplained"] == ["Parameters"]


def test_models_without_published_sizes_are_listed(zoo, capsys):
    assert tool.main([], root=zoo(**{"Input Size": [32, 32]})) == 0
    assert "| - | - |" in capsys.readouterr().out


def test_a_pattern_without_match_names_the_models(zoo, capsys):
    assert run_main(partial(tool.main, root=zoo()), "--only", "resnet*") == 1
    assert "mini" in capsys.readouterr().err


def test_a_metafile_that_names_a_missing_config_is_refused(zoo, capsys):
    root = zoo()
    (root / "configs" / "mini" / "mini.py").unlink()
    assert run_main(partial(tool.main, root=root)) == 1
    assert "configs/mini/mini.py" in capsys.readouterr().err


def test_the_repository_is_read_whole():
    rows = published_sizes.read_rows()
    published = [row for row in rows if row.config.startswith("configs/dwnet/") and row.published]
    assert len(published) == 12
    assert all(set(row.published) == {"Parameters", "FLOPs"} for row in published)


@pytest.mark.parametrize("name", ["dwnet-t_in1k", "dwnet-t_dynamic_in1k"])
def test_published_classifier_sizes_are_met(name):
    (row,) = published_sizes.select(published_sizes.read_rows(), name)
    published_sizes.measure(row)
    assert not row.unexplained()
    assert all(abs(row.difference(quantity)) < 0.02 for quantity in row.published)
