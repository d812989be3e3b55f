"""``tools/model_converters/convert.py``: conversion of files."""

import importlib.util
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from goldens import load_golden, reference_state
from smallvit.cli import run_tool

TOOL = Path(__file__).parents[2] / "tools" / "model_converters" / "convert.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def official():
    return reference_state(load_golden("dwnet_tiny_static"))


def run(tool, *args):
    return run_tool(tool.main, [str(arg) for arg in args])


def folder_is_empty_but_for(folder, *names):
    return sorted(os.listdir(folder)) == sorted(names)


def test_converts_and_reverts(tool, official, tmp_path, capsys):
    src, ours, back = (tmp_path / name for name in ("a.pth", "b.pth", "c.pth"))
    torch.save({"model": official, "epoch": 1}, src)
    assert run(tool, "dwnet", src, ours) == 0
    out = capsys.readouterr().out
    for words in ("353", "static", "classes: 100", "dwnet-t_in1k.py", str(ours)):
        assert words in out
    state = torch.load(ours, weights_only=True)["state_dict"]
    assert state["head.fc.weight"].shape == (100, 768)
    assert run(tool, "dwnet", ours, back, "--reverse") == 0
    returned = torch.load(back, weights_only=True)["model"]
    assert set(returned) == set(official)
    assert all(torch.equal(returned[key], official[key]) for key in official)
    assert folder_is_empty_but_for(tmp_path, "a.pth", "b.pth", "c.pth")


def test_safetensors(tool, official, tmp_path):
    src, ours, back = (tmp_path / f"{name}.safetensors" for name in "abc")
    save_file(official, src)
    assert run(tool, "dwnet", src, ours) == 0
    assert "backbone.norm.weight" in load_file(ours)
    assert run(tool, "dwnet", ours, back, "--reverse") == 0
    returned = load_file(back)
    assert all(torch.equal(returned[key], official[key]) for key in official)


def test_pickled_objects_need_trust(tool, official, tmp_path, capsys):
    src, dst = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"model": official, "args": Namespace(lr=0.1)}, src)
    assert run(tool, "dwnet", src, dst) == 1
    error = capsys.readouterr().err
    assert "argparse.Namespace" in error
    assert "--trust" in error
    assert not dst.exists()
    assert run(tool, "dwnet", src, dst, "--trust") == 0
    assert dst.exists()


def broken(tmp_path, official, kind):
    path = tmp_path / "a.pth"
    if kind == "unknown key":
        torch.save({"model": official | {"extra.weight": torch.ones(1)}}, path)
        return path, "extra.weight"
    if kind == "missing key":
        torch.save({k: v for k, v in official.items() if k != "norm.bias"}, path)
        return path, "norm.bias"
    if kind == "no weights":
        torch.save({"epoch": 3}, path)
        return path, "epoch"
    if kind == "truncated":
        torch.save(official, path)
        path.write_bytes(path.read_bytes()[:5000])
        return path, "a.pth"
    if kind == "not safetensors":
        path = tmp_path / "a.safetensors"
        path.write_bytes(b"nothing")
        return path, "safetensors"
    return tmp_path / "none.pth", "none.pth"


@pytest.mark.parametrize(
    "kind", ["unknown key", "missing key", "no weights", "truncated", "not safetensors", "absent"]
)
@pytest.mark.parametrize("trust", [False, True])
def test_bad_files_are_refused(tool, official, tmp_path, capsys, kind, trust):
    src, words = broken(tmp_path, official, kind)
    before = os.listdir(tmp_path)
    status = run(tool, "dwnet", src, tmp_path / "dst.pth", *(["--trust"] if trust else []))
    error = capsys.readouterr().err
    assert status == 1
    assert words in error
    assert "Traceback" not in error
    assert os.listdir(tmp_path) == before


def test_missing_folder_is_named(tool, official, tmp_path, capsys):
    torch.save(official, tmp_path / "a.pth")
    assert run(tool, "dwnet", tmp_path / "a.pth", tmp_path / "no" / "b.pth") == 1
    assert str(tmp_path / "no") in capsys.readouterr().err


def test_failed_write_leaves_the_old_file(tool, official, tmp_path, monkeypatch):
    src, dst = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save(official, src)
    dst.write_text("old")

    def full(obj, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert run(tool, "dwnet", src, dst, "--overwrite") == 1
    assert dst.read_text() == "old"
    assert folder_is_empty_but_for(tmp_path, "a.pth", "b.pth")


def with_optimizer(official, change=lambda optimizer: optimizer):
    """A checkpoint of Swin's code, whose optimizer lists the group with weight decay first."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    names = [key for key in official if key.rpartition(".")[2] not in statistics]
    decayed = [key for key in names if official[key].dim() > 1]
    exempt = [key for key in names if official[key].dim() == 1]
    moments = {
        i: dict(step=7, exp_avg=torch.zeros_like(official[key]), exp_avg_sq=official[key] * 2)
        for i, key in enumerate([*decayed, *exempt])
    }
    groups = [dict(params=list(range(len(decayed))))]
    groups.append(dict(params=list(range(len(decayed), len(moments)))))
    optimizer = change(dict(state=moments, param_groups=groups))
    return dict(model=official, optimizer=optimizer, epoch=4)


def test_training_state_is_carried_by_name(tool, official, tmp_path, capsys):
    torch.save(with_optimizer(official), tmp_path / "a.pth")
    assert run(tool, "dwnet", tmp_path / "a.pth", tmp_path / "b.pth", "--training-state") == 0
    assert "5 epochs, optimizer moments" in capsys.readouterr().out
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    training = content["training_state"]
    assert (training["epoch"], training["iteration"], training["average"]) == (5, 7, None)
    name = "backbone.stages.1.blocks.0.mlp.fc1.weight"
    assert torch.equal(training["moments"][name]["exp_avg_sq"], content["state_dict"][name] * 2)
    assert set(training["moments"]) == {
        key for key in content["state_dict"] if "running_" not in key and "num_batches" not in key
    }


def test_mmcv_makes_one_group_of_each_parameter(tool, tmp_path):
    """Detectors and segmentors: mmcv 1.x counts completed epochs."""
    official = reference_state(load_golden("dwnet_tiny_static_multiscale"))
    ends = ("running_mean", "running_var", "num_batches_tracked")
    names = [key for key in official if not key.endswith(ends)]
    optimizer = dict(
        state={i: dict(step=9, exp_avg=official[key] + 1) for i, key in enumerate(names)},
        param_groups=[dict(params=[i], weight_decay=0.05) for i in range(len(names))],
    )
    meta = dict(epoch=3, iter=9)
    torch.save(dict(state_dict=official, optimizer=optimizer, meta=meta), tmp_path / "a.pth")
    assert run(tool, "dwnet", tmp_path / "a.pth", tmp_path / "b.pth", "--training-state") == 0
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    training = content["training_state"]
    assert (training["epoch"], training["iteration"]) == (3, 9)
    for name, entry in training["moments"].items():
        assert torch.equal(entry["exp_avg"], content["state_dict"][name] + 1)
    assert len(training["moments"]) == len(names)


def test_files_with_weights_only_are_reported(tool, official, tmp_path, capsys):
    torch.save(with_optimizer(official), tmp_path / "a.pth")
    assert run(tool, "dwnet", tmp_path / "a.pth", tmp_path / "b.pth") == 0
    assert "--training-state" in capsys.readouterr().out
    assert set(torch.load(tmp_path / "b.pth", weights_only=True)) == {"state_dict"}


def _lose_one(optimizer):
    optimizer["param_groups"][0]["params"].pop()
    return optimizer


def _other_order(optimizer):
    optimizer["param_groups"][0]["params"].reverse()
    return optimizer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_lose_one, "different models"),
        (_other_order, "a different order"),
        (lambda optimizer: {}, "no optimizer"),
    ],
)
def test_training_state_that_does_not_fit_is_refused(
    tool, official, tmp_path, capsys, change, words
):
    torch.save(with_optimizer(official, change), tmp_path / "a.pth")
    assert run(tool, "dwnet", tmp_path / "a.pth", tmp_path / "b.pth", "--training-state") == 1
    assert words in capsys.readouterr().err
    assert folder_is_empty_but_for(tmp_path, "a.pth")


def test_missing_average_is_named(tool, official, tmp_path, capsys):
    torch.save({"model": official}, tmp_path / "a.pth")
    assert run(tool, "dwnet", tmp_path / "a.pth", tmp_path / "b.pth", "--ema") == 1
    assert "model_ema" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dst", "flags"),
    [
        ("b.pth", ["--ema", "--training-state"]),
        ("b.pth", ["--reverse", "--ema"]),
        ("b.safetensors", ["--training-state"]),
    ],
)
def test_flags_that_exclude_each_other(tool, tmp_path, capsys, dst, flags):
    with pytest.raises(SystemExit):
        run(tool, "dwnet", tmp_path / "a.pth", tmp_path / dst, *flags)
    assert flags[-1] in capsys.readouterr().err


def test_unknown_system_is_a_usage_error(tool, capsys):
    with pytest.raises(SystemExit) as error:
        run(tool, "dwnett", "a", "b")
    assert error.value.code == 2
    assert "dwnet" in capsys.readouterr().err


def test_help_does_not_load_models():
    code = (
        f"import runpy, sys; sys.argv = ['convert.py', '--help']\n"
        f"try:\n    runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
        f"except SystemExit as e:\n    print(e.code, 'mmpretrain' in sys.modules, "
        f"'smallvit.backbones' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--reverse" in done.stdout
    assert done.stdout.strip().endswith("0 False False")
