"""Table of training times: parts of a step, other libraries and official code."""

import json
import sys

import pytest
import torch
from torch import nn

from smallvit.analysis import training_parts
from smallvit.analysis.harness import Timing
from smallvit.analysis.training_parts import (
    PARTS,
    Training,
    geometric_means,
    summarize_parts,
    tensors_in,
    time_trainings,
)
from smallvit.errors import UserError
from tool_helpers import load_tool, run_main

tool = load_tool("analysis_tools/benchmark_training.py")
official = load_tool("analysis_tools/official_models.py")


def test_steps_are_taken_in_turns_and_train(monkeypatch):
    torch.manual_seed(0)
    order = []
    trainings = {}
    for name in ("ours", "other"):
        model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())
        model.register_forward_hook(lambda *_, name=name: order.append(name))
        trainings[name] = Training(model, torch.optim.SGD(model.parameters(), lr=0.1))
    before = trainings["other"].model[0].weight.clone()
    rounds = time_trainings(trainings, torch.randn(2, 3, 4, 4), rounds=2)
    assert order == ["ours", "other", "ours", "other", "other", "ours"]
    assert not torch.equal(trainings["other"].model[0].weight, before)
    assert all(list(parts) == list(PARTS) for turn in rounds for parts in turn.values())


def test_parts_and_ratios_are_of_one_round():
    def parts(forward, backward, optimizer):
        return {
            name: Timing(2 * seconds, seconds)
            for name, seconds in zip(PARTS, (forward, backward, optimizer), strict=True)
        }

    rounds = [dict(ours=parts(1, 2, 1), timm=parts(2, 2, 4)) for _ in range(3)]
    rounds.append(dict(ours=parts(10, 20, 10), timm=parts(20, 20, 40)))
    found = summarize_parts(rounds)
    assert found["ours"]["step"] == dict(cpu=4, wall=8, cpu_ratio=1, wall_ratio=1)
    ratios = {part: found["timm"][part]["cpu_ratio"] for part in (*PARTS, "step")}
    assert ratios == dict(forward=2, backward=1, optimizer=4, step=2)
    half = {"models": {"timm": {"step": {"cpu_ratio": 0.5}}}}
    assert geometric_means([{"models": found}, half]) == pytest.approx({"timm": 1.0})


def test_tensors_of_all_kinds_of_outputs():
    one, two = torch.ones(1), torch.ones(2)
    assert list(tensors_in([one, {"a": (two, None)}])) == [one, two]


def test_a_table_with_clones(tmp_path, capsys, monkeypatch):
    clone = tmp_path / "clones" / "DHVT"
    clone.mkdir(parents=True)
    (clone / "utils.py").write_text("WIDTH = 3\n")
    (clone / "vision_transformer.py").write_text(
        "import torchprofile, utils\n"
        "from torch import nn\n"
        "from timm.models.helpers import build_model_with_cfg\n"
        "from timm.models.registry import register_model\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Conv2d(utils.WIDTH, num_classes, 32), nn.SyncBatchNorm(100))\n"
        "    def forward(self, images):\n"
        "        return super().forward(images.cuda())\n"
        "@register_model\n"
        "def dhvt_tiny_cifar_patch4(**options):\n"
        "    print('says much')\n"
        "    return build_model_with_cfg(Net, 'tiny', False, default_cfg=1, **options)\n"
    )
    before, threads = set(sys.modules), torch.get_num_threads()
    out = tmp_path / "out.json"
    flags = ["--only", "DHVT-T/4", "--batch", 1, "--rounds", 1, "--images", 5, "--threads", 1]
    try:
        flags += ["--official", tmp_path / "clones", "--json", out, "--device", "cpu"]
        assert run_main(tool.main, *flags) == 0
    finally:
        torch.set_num_threads(threads)
    assert not {"utils", "vision_transformer", "torchprofile"} & (set(sys.modules) - before)
    table = capsys.readouterr().out
    assert "says much" not in table
    (row,) = json.loads(out.read_text())["results"]
    assert set(row["models"]) == {"ours", "plain", "official"}
    assert set(row["loader"]) == {"ours", "timm"}
    for name in ("plain", "official"):
        assert f"{name} over ours" in table
        assert set(row["models"][name]) == {*PARTS, "step"}


def test_clones_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="none of the clones"):
        official.build_official("DHVT-T/4", str(tmp_path))
    (tmp_path / "DHVT").mkdir()
    assert official.build_official("DeiT-Ti", str(tmp_path)) is None
    assert official.build_official("ResNet-18", str(tmp_path)) is None
    (tmp_path / "DHVT" / "vision_transformer.py").write_text("import a_thing_of_theirs\n")
    with pytest.raises(UserError, match="pip install a_thing_of_theirs"):
        official.build_official("DHVT-T/4", str(tmp_path))


def test_names_are_those_of_the_table_of_inference():
    names = {name for name, *_ in load_tool("analysis_tools/benchmark_backbones.py").ARCHITECTURES}
    assert {*tool.TIMM, *official.MODELS, *official.TINY_TRANSFORMERS} <= names
    assert tool.COLUMNS[:3] == training_parts.PARTS
