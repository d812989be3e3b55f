import json

import pytest

from smallvit.analysis.curves import choose_keys, draw_runs
from smallvit.analysis.logs import read_run
from smallvit.cli import UserError
from tool_helpers import load_tool, run_main

plot_logs = load_tool("analysis_tools/plot_logs.py")


def write_log(run, stamp, records, tail=""):
    folder = run / stamp / "vis_data"
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "scalars.json").write_text(lines + tail)


def training(*iterations, loss=1.0):
    return [
        {"lr": 0.1, "loss": loss / i, "time": 0.5, "epoch": 1, "iter": i, "step": i}
        for i in iterations
    ]


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run"
    first = [*training(1, 2), {"accuracy": 50.0, "time": 9.0, "step": 1}, *training(3, 4)]
    write_log(run, "20260101_000000", first, tail='{"lr": 0.1, "lo')
    write_log(run, "20260102_000000", [*training(3, 4, loss=2.0), {"accuracy": 75.0, "step": 2}])
    return run


def test_resumed_runs_are_joined(run):
    curves = read_run(str(run))
    assert curves["loss"].iterations == [1, 2, 3, 4]
    assert curves["loss"].values == [1.0, 0.5, 2 / 3, 0.5]
    # Validation has no iteration of its own: it gets that of the preceding training step.
    assert curves["accuracy"].iterations == [2, 4]
    assert curves["accuracy"].validation
    assert set(curves["time"].values) == {0.5}


def test_other_runs_in_the_folder_are_not_mixed_in(run):
    whole = read_run(str(run))
    write_log(run / "pretraining", "20260103_000000", training(1, 2, 3, 4, 5, loss=9.0))
    assert read_run(str(run)) == whole
    with pytest.raises(UserError, match="work_dir of one run"):
        read_run(str(run.parent))


def test_moving_average(run):
    _, averages = read_run(str(run))["loss"].averaged(2)
    assert averages == pytest.approx([1.0, 0.75, 7 / 12, 7 / 12])


def test_default_keys_are_the_loss_and_the_metrics(run):
    assert choose_keys({"run": read_run(str(run))}, None) == ["accuracy", "loss"]


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_draws_several_runs(run, tmp_path, ending, magic):
    out = tmp_path / "figures" / f"curves.{ending}"
    log = run / "20260101_000000/vis_data/scalars.json"
    argv = [run, log, "--keys", "loss", "accuracy", "lr", "time", "--smooth", 2, "--out", out]
    assert run_main(plot_logs.main, *argv) == 0
    assert out.read_bytes().startswith(magic)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_panels_hold_the_curves(run):
    curves = {"a": read_run(str(run)), "b": {}}
    panels = draw_runs(curves, ["loss", "accuracy"], smooth=2).axes
    assert [ax.get_title() for ax in panels] == ["loss", "accuracy"]
    raw, smooth, empty = panels[0].lines
    assert list(raw.get_ydata()) == curves["a"]["loss"].values
    assert list(smooth.get_ydata()) == pytest.approx([1.0, 0.75, 7 / 12, 7 / 12])
    assert len(empty.get_ydata()) == 0
    assert list(panels[1].lines[0].get_xdata()) == [2, 4]


def test_missing_precisions_are_not_drawn(tmp_path):
    """pycocotools returns -1 for it."""
    names = ("coco/bbox_mAP", "coco/bbox_mAP_s", "AR_s@1000", "matthews")
    records = [*training(1), dict.fromkeys(names, -1.0), *training(2)]
    write_log(tmp_path, "1", [*records, dict.fromkeys(names, -1.0) | {"coco/bbox_mAP": 0.4}])
    curves = read_run(str(tmp_path))
    assert curves["coco/bbox_mAP"].values == [0.4]
    assert curves["coco/bbox_mAP"].iterations == [2]
    assert curves["matthews"].values == [-1.0, -1.0]  # -1 is a valid value
    assert choose_keys({"run": curves}, None) == ["coco/bbox_mAP", "loss", "matthews"]
    (panel,) = draw_runs({"run": curves}, choose_keys({"run": curves}, ["AR_s@1000"])).axes
    assert panel.get_title() == "AR_s@1000 (nothing to measure)"
    assert len(panel.lines[0].get_ydata()) == 0


def test_unknown_key_lists_the_known_ones(run, tmp_path, capsys):
    assert run_main(plot_logs.main, run, "--keys", "los", "--out", tmp_path / "x.png") == 1
    assert "no run logged los; available: accuracy, loss, lr, time" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_bad_runs(tmp_path):
    with pytest.raises(UserError, match="no such run"):
        read_run(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"contains no scalars\.json"):
        read_run(str(tmp_path))
    broken = tmp_path / "scalars.json"
    broken.write_text("no json\n")
    with pytest.raises(UserError, match="line 1"):
        read_run(str(broken))
