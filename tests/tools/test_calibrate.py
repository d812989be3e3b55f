"""Calibration and evaluation tools for cascades, on a small cascade for digits."""

import json

import pytest
import torch

from smallvit.engine.checkpoint.reading import trust_checkpoints
from tool_helpers import ROOT, load_tool, own_experiment, run_main

train = load_tool("train.py")
test = load_tool("test.py")
calibrate = load_tool("multi_exit/calibrate.py")
benchmark = load_tool("multi_exit/benchmark.py")
plot = load_tool("multi_exit/plot.py")
official = load_tool("multi_exit/official.py")

CONFIG = """
_base_ = r"{base}"

network = dict(
    type="smallvit.T2TViT",
    arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32),
    img_size=32,
    token_dims=8,
)
splits = [
    dict(kernel_sizes=(patch, 1), strides=(patch, 2), paddings=(0, 0)) for patch in (8, 4, 2)
]
model = dict(
    backbone=dict(exits=[dict(token_grid=split, **network) for split in splits]),
    head=dict(in_channels=16),
)
train_dataloader = dict(dataset=dict(samples_per_class=16))
test_dataloader = dict(dataset=dict(samples_per_class=8))
train_cfg = dict(max_epochs=1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cascade")


@pytest.fixture(scope="module")
def config(folder):
    path = folder / "tiny.py"
    path.write_text(CONFIG.replace("{base}", str(ROOT / "configs/dvt/dvt-mini_digits.py")))
    return path


@pytest.fixture(scope="module")
def checkpoint(config, folder):
    argv = (config, "--work-dir", folder, "--no-validate", "--cfg-options", own_experiment())
    assert run_main(train.main, *argv) == 0
    return folder / "epoch_1.pth"


@pytest.fixture(scope="module")
def calibrated(config, checkpoint, folder):
    path = folder / "calibrated.pth"
    assert run_main(calibrate.main, config, checkpoint, "--out", path, "--evaluate") == 0
    return path


def evaluate(config, checkpoint, tmp_path, *options):
    """Return the metrics of tools/test.py."""
    out = tmp_path / "metrics.json"
    argv = (config, checkpoint, "--work-dir", tmp_path / "work", "--out", out)
    options = ("--cfg-options", *options, own_experiment())
    status = run_main(test.main, *argv, "--overwrite", "--out-item", "metrics", *options)
    return json.loads(out.read_text()) if status == 0 else status


def test_calibrate_stores_the_documented_layout(calibrated, checkpoint):
    content = torch.load(calibrated, weights_only=True)
    stored = content["multi_exit"]
    assert len(stored["thresholds"]) == len(stored["calibration"]["accuracy"]) == 59
    assert stored["flops"] == sorted(stored["flops"])
    assert stored["calibration"]["num_images"] == 190
    assert stored["evaluation"]["num_images"] == 80
    plain = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(content["state_dict"][key], plain[key]) for key in plain)


def test_options_of_calibrate(config, checkpoint, tmp_path, capfd):
    out = tmp_path / "out.pth"
    stored = torch.load(checkpoint, weights_only=True)
    assert stored["state_dict"]
    argv = (config, checkpoint, "--out", out, "--policy", "entropy", "--temperature")
    argv = (*argv, "--num-images", "50")
    assert run_main(calibrate.main, *argv) == 0
    result = torch.load(out, weights_only=True)["multi_exit"]
    assert result["policy"] == "entropy"
    assert set(result["temperatures"]) != {1.0}
    assert result["calibration"]["num_images"] == 50
    assert len(result["thresholds"]) == 59
    assert "GFLOPs of the exits" in capfd.readouterr().out
    # Budgets that are met by stored thresholds add none; impossible ones are refused.
    met = ("--max-gflops", str(result["flops"][-1]), "--min-accuracy", "1.01")
    assert run_main(calibrate.main, *argv, "--overwrite", *met) == 0
    capfd.readouterr()
    refused = {"--max-gflops": "below the cost of the first exit", "--min-accuracy": "in percent"}
    for flag, reason in refused.items():
        assert run_main(calibrate.main, *argv, "--overwrite", flag, "1e-9") != 0
        assert reason in capfd.readouterr().err


def test_calibrate_searches_the_shares(config, checkpoint, tmp_path, capfd):
    out = tmp_path / "out.pth"
    capfd.readouterr()
    for flags in ((), ("--rule", "search")):
        argv = (config, checkpoint, "--out", out, "--overwrite", *flags)
        assert run_main(calibrate.main, *argv) == 0
        hinted = "a single exit that costs no more; --rule search" in capfd.readouterr().out
        curve = torch.load(out, weights_only=True)["multi_exit"]["calibration"]
        # The cascade is hardly trained, so that late exits are not always better than early ones.
        assert hinted == (not flags)
        assert (curve["accuracy"] == sorted(set(curve["accuracy"]))) == bool(flags)
    assert max(curve["accuracy"]) >= max(curve["anytime"])
    found = evaluate(config, out, tmp_path, "test_evaluator.2.eval_mode=1")
    by_rule = evaluate(config, checkpoint, tmp_path)
    assert found != by_rule
    assert found == evaluate(config, checkpoint, tmp_path, "custom_hooks.0.rule=search")


def test_evaluation_modes(config, checkpoint, calibrated, tmp_path):
    found = evaluate(config, checkpoint, tmp_path)  # mode 2, from the bare weights
    stored = evaluate(config, calibrated, tmp_path, "test_evaluator.2.eval_mode=0")
    again = evaluate(config, calibrated, tmp_path, "test_evaluator.2.eval_mode=1")
    assert found == stored == again
    assert found["anytime/exit2"] == found["accuracy/top1"] == found["budgeted/exit2"]
    curve = tmp_path / "curve.json"
    evaluate(config, calibrated, tmp_path, f"test_evaluator.2.out_file={curve}")
    content = torch.load(calibrated, weights_only=True)["multi_exit"]
    assert json.loads(curve.read_text())["accuracy"] == content["evaluation"]["accuracy"]


def test_budgeted_inference_matches_the_curve(config, calibrated, tmp_path):
    stored = torch.load(calibrated, weights_only=True)["multi_exit"]
    budget = sorted(stored["calibration"]["flops"])[30]
    row = max(
        (index for index, cost in enumerate(stored["calibration"]["flops"]) if cost <= budget),
        key=lambda index: (
            stored["calibration"]["accuracy"][index],
            -stored["calibration"]["flops"][index],
        ),
    )
    options = (
        "test_evaluator.2.eval_mode=1",
        "model.inference.mode=budgeted",
        f"model.inference.max_gflops={budget!r}",
    )
    served = evaluate(config, calibrated, tmp_path, *options)
    assert served["budgeted/accuracy"] == pytest.approx(stored["evaluation"]["accuracy"][row])
    assert served["budgeted/gflops"] == pytest.approx(stored["evaluation"]["flops"][row])
    assert served["accuracy/top1"] == served["budgeted/accuracy"]
    assert sum(served[f"budgeted/share{index}"] for index in range(3)) == pytest.approx(100)


def test_benchmark_measures_every_mode(config, calibrated, tmp_path, capfd):
    out, picture = tmp_path / "speed.json", tmp_path / "speed.png"
    argv = ("--points", "3", "--rounds", "1", "--json", out, "--plot", picture)
    assert run_main(benchmark.main, config, calibrated, *argv) == 0
    points = {point["name"]: point for point in json.loads(out.read_text())["points"]}
    assert {"exit 0", "exit 1", "exit 2", "budgeted 0"} <= set(points)
    stored = torch.load(calibrated, weights_only=True)["multi_exit"]
    for index in range(3):
        point = points[f"exit {index}"]
        assert point["accuracy"] == pytest.approx(stored["evaluation"]["anytime"][index])
        assert point["gflops"] == pytest.approx(stored["flops"][index])
    assert points["budgeted 0"]["accuracy"] == pytest.approx(stored["evaluation"]["accuracy"][0])
    assert points["exit 2"]["speedup"] == points["exit 2"]["ideal"] == 1
    share_of_time = [share / 100 for share in points["budgeted 0"]["shares"]]
    for index, share in enumerate(share_of_time):
        share_of_time[index] = share / points[f"exit {index}"]["ideal"]
    assert points["budgeted 0"]["ideal"] == pytest.approx(1 / sum(share_of_time))
    assert picture.stat().st_size > 5000
    assert "points of the last exit" in capfd.readouterr().out


def test_pictures(config, calibrated, tmp_path):
    curve, page = tmp_path / "curve.png", tmp_path / "page.png"
    assert run_main(plot.main, calibrated, "--out", curve) == 0
    images = ("--images", config, "--per-class", "2", "--max-gflops", "0.003")
    assert run_main(plot.main, calibrated, "--out", page, *images) == 0
    assert curve.stat().st_size > 5000
    assert page.stat().st_size > 5000


def test_official_layout_and_back(calibrated, tmp_path):
    theirs, ours = tmp_path / "model.pth.tar", tmp_path / "ours.pth"
    assert run_main(official.main, calibrated, theirs, "--reverse") == 0
    written = torch.load(theirs, weights_only=True)
    assert set(written) == {
        "model_state_dict",
        "flops",
        "anytime_classification",
        "dynamic_threshold",
        "budgeted_batch_classification",
    }
    assert written["dynamic_threshold"].shape == (59, 3)
    assert "less_token.relation_reuse_conv.0.weight" in written["model_state_dict"]
    assert run_main(official.main, theirs, ours) == 0
    before, after = (torch.load(path, weights_only=True) for path in (calibrated, ours))
    for each in (before, after):  # the two layouts store different curves
        assert each["state_dict"].pop("_extra_state").dtype == torch.uint8
    assert before["state_dict"].keys() == after["state_dict"].keys()
    assert all(
        torch.equal(after["state_dict"][key], value) for key, value in before["state_dict"].items()
    )
    assert after["multi_exit"]["evaluation"]["flops"] == before["multi_exit"]["evaluation"]["flops"]
    thresholds = [torch.tensor(each["multi_exit"]["thresholds"]) for each in (before, after)]
    assert torch.equal(*thresholds)


class Stranger:
    """Not part of a checkpoint."""


def test_pickled_objects_need_trust(calibrated, tmp_path, capfd):
    theirs, odd = tmp_path / "model.pth.tar", tmp_path / "odd.pth.tar"
    assert run_main(official.main, calibrated, theirs, "--reverse") == 0
    torch.save(torch.load(theirs, weights_only=True) | {"extra": Stranger()}, odd)
    assert run_main(official.main, odd, tmp_path / "ours.pth") == 1
    assert "--trust" in capfd.readouterr().err
    try:
        assert run_main(official.main, odd, tmp_path / "ours.pth", "--trust") == 0
    finally:
        trust_checkpoints(False)


def test_bad_input(config, checkpoint, calibrated, tmp_path, capfd):
    def refused(tool, *argv):
        assert run_main(tool.main, *argv) == 1
        message = capfd.readouterr().err
        assert "Traceback" not in message
        return message

    below = ("--max-gflops", "1e-5", "--out", tmp_path / "x.pth")
    message = refused(calibrate, config, checkpoint, *below)
    assert "1e-05 GFLOPs per image is below the cost of the first exit" in message
    assert not (tmp_path / "x.pth").exists()
    assert "has neither FLOPs of exits" in refused(benchmark, config, checkpoint)
    assert "calibrate.py" in refused(plot, checkpoint, "--out", tmp_path / "x.png")
    assert "no such folder" in refused(calibrate, config, checkpoint, "--out", "no/where.pth")
    mode = ("--cfg-options", "test_evaluator.2.eval_mode=1", own_experiment())
    argv = (config, checkpoint, "--work-dir", tmp_path / "work", *mode)
    assert "no calibration" in refused(test, *argv)

    other = torch.load(calibrated, weights_only=True)
    other["multi_exit"]["flops"].append(1.0)
    for row in other["multi_exit"]["thresholds"]:
        row.append(-1e8)
    other["multi_exit"]["temperatures"].append(1.0)
    for curve in ("calibration", "evaluation"):
        other["multi_exit"][curve]["anytime"].append(50.0)
    path = tmp_path / "four.pth"
    torch.save(other, path)
    assert "for 4 exits, but the model has 3" in refused(benchmark, config, path)
