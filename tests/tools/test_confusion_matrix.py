"""tools/analysis_tools/confusion_matrix.py."""

import csv
import json

import pytest

from config_helpers import CONFIGS
from smallvit.cli import run_tool
from tool_helpers import load_tool

TOOL = load_tool("analysis_tools/confusion_matrix.py")


@pytest.fixture
def predictions(tmp_path):
    from mmengine.registry import DATASETS, init_default_scope

    from config_helpers import read_config

    init_default_scope("mmpretrain")
    dataset = DATASETS.build(read_config("dwnet/dwnet-mini_digits.py").test_dataloader.dataset)
    samples = [
        dict(pred_label=0, gt_label=int(dataset.get_data_info(i)["gt_label"]), pred_score=[1.0])
        for i in range(len(dataset))
    ]
    path = tmp_path / "p.json"
    head = dict(format="smallvit.predictions", version=1, task="classification")
    path.write_text(json.dumps(dict(head, classes=list("0123456789"), samples=samples)))
    return str(path)


def test_tables_and_picture_are_written(predictions, tmp_path, capsys):
    config = str(CONFIGS / "dwnet/dwnet-mini_digits.py")
    files = {key: str(tmp_path / f"out/{key}.{key}") for key in ("csv", "json")}
    files["out"] = str(tmp_path / "out/m.png")
    argv = [config, predictions, *(w for k, v in files.items() for w in (f"--{k}", v))]
    assert run_tool(TOOL.main, argv) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == [
        *("class", "images", "recall", "precision", "F1", "IoU", "most", "confused", "with")
    ]
    assert printed[1].split()[2] == "100.0"
    assert printed[2].split()[-1] == "0"
    with open(files["csv"]) as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list("0123456789")
    written = json.loads((tmp_path / "out/json.json").read_text())
    assert sum(map(sum, written["matrix"])) == sum(int(row["count"]) for row in rows)
    assert run_tool(TOOL.main, argv) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_checkpoint_is_tested_first(monkeypatch, tmp_path, predictions, capsys):
    calls = []

    def verb(argv):
        calls.append(argv)
        out = argv[argv.index("--out") + 1]
        with open(predictions) as source, open(out, "w") as file:
            file.write(source.read())
        return 0

    monkeypatch.setattr(TOOL, "run_verb", verb)
    config = str(CONFIGS / "dwnet/dwnet-mini_digits.py")
    options = ["--cfg-options", "test_dataloader.batch_size=3"]
    TOOL.main([config, "x.pth", *options, "--csv", str(tmp_path / "t.csv")])
    assert "most confused with" in capsys.readouterr().out
    assert calls[0][:3] == ["test", config, "x.pth"]
    assert calls[0][-2:] == ["--cfg-options", "test_dataloader.batch_size=3"]
    monkeypatch.setattr(TOOL, "run_verb", lambda argv: 3)
    assert TOOL.main([config, "x.pth"]) == 3


@pytest.mark.parametrize("flags", [["--masks"], ["--iou-thr", "0.4"], ["--score-thr", "0.3"]])
def test_flags_of_detectors_are_refused_elsewhere(predictions, flags, capsys):
    config = str(CONFIGS / "dwnet/dwnet-mini_digits.py")
    assert run_tool(TOOL.main, [config, predictions, *flags]) == 1
    assert f"{flags[0]}: require a detector" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--score-thr", "--iou-thr"])
def test_thresholds_are_shares(flag, capsys):
    with pytest.raises(SystemExit):
        TOOL.parse_args(["c.py", "p.json", flag, "1.5"])
    assert "1.5 is not between 0 and 1" in capsys.readouterr().err
