import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import BaseDataElement, InstanceData
from torch import nn

from smallvit.engine import precision
from smallvit.engine.precision import (
    AutocastOptimWrapper,
    in_float32,
    use_amp_testing,
    use_amp_training,
)


def config(**wrapper) -> Config:
    return Config(dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1), **wrapper)))


def test_computes_in_bfloat16_and_steps_in_float32():
    model = nn.Linear(4, 4)
    before = model.weight.detach().clone()
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=2, emulate=True
    )
    wrapper.initialize_count_status(model, 0, 4)
    for step in range(2):
        with wrapper.optim_context(model):
            out = model(torch.ones(2, 4))
        assert out.dtype == torch.bfloat16
        wrapper.update_params(out.float().sum())
        assert torch.equal(model.weight, before) == (step == 0)
    assert model.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("device", "has", "emulate", "expected"),
    [
        ("cpu", True, False, torch.bfloat16),
        ("cpu", False, False, torch.float32),
        ("cpu", False, True, torch.bfloat16),
    ],
)
def test_a_cpu_without_bfloat16_trains_in_float32_and_says_so(
    monkeypatch, device, has, emulate, expected
):
    monkeypatch.setattr(precision, "get_device", lambda: device)
    monkeypatch.setattr(precision, "has_bfloat16_instructions", lambda: has)
    said = []
    monkeypatch.setattr(precision, "print_log", lambda message, *args: said.append(message))
    model = nn.Linear(4, 4)
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1), emulate=emulate
    )
    with wrapper.optim_context(model):
        assert model(torch.ones(2, 4)).dtype == expected
    assert ["to train in bfloat16" in message for message in said] == [True] * (
        expected == torch.float32
    )


def test_the_amp_flag_asks_for_bfloat16_on_any_machine():
    cfg = config(type="smallvit.AutocastOptimWrapper")
    use_amp_training(cfg)
    assert cfg.optim_wrapper.emulate is True


def test_float16_needs_a_scaler():
    with pytest.raises(ValueError, match="AmpOptimWrapper"):
        AutocastOptimWrapper(dtype="float16", optimizer=None)


@pytest.mark.parametrize("kind", [{}, {"type": "OptimWrapper"}, {"type": OptimWrapper}])
def test_replaces_the_plain_wrapper(kind):
    cfg = config(**kind)
    use_amp_training(cfg)
    assert cfg.optim_wrapper.type == "smallvit.AutocastOptimWrapper"


@pytest.mark.parametrize("kind", ["AmpOptimWrapper", AmpOptimWrapper])
def test_keeps_a_scaled_wrapper(kind):
    cfg = config(type=kind)
    use_amp_training(cfg)
    assert cfg.optim_wrapper.type == kind


def test_refuses_other_wrappers():
    with pytest.raises(ValueError, match=r"ApexOptimWrapper"):
        use_amp_training(config(type="ApexOptimWrapper"))


@pytest.mark.parametrize(
    ("device", "kind"), [("cpu", "smallvit.AutocastOptimWrapper"), ("cuda", "AmpOptimWrapper")]
)
def test_library_configs_with_amp_run_without_accelerator(monkeypatch, device, kind):
    monkeypatch.setattr(precision, "get_device", lambda: device)
    cfg = config(type="AmpOptimWrapper", loss_scale="dynamic", dtype="float16")
    precision.replace_unsupported_amp(cfg)
    assert cfg.optim_wrapper.type == kind
    assert ("loss_scale" in cfg.optim_wrapper) == (device == "cuda")


def test_predictions_are_handed_on_in_float32():
    instances = InstanceData(scores=torch.ones(2, dtype=torch.bfloat16), labels=torch.arange(2))
    sample = BaseDataElement(pred_instances=instances, metainfo={"img_id": 1})
    (found, extra) = in_float32([sample, {"x": (torch.ones(1).bfloat16(), "text")}])
    assert found.pred_instances.scores.dtype == torch.float32
    assert found.pred_instances.labels.dtype == torch.int64
    assert found.img_id == 1
    assert extra["x"][0].dtype == torch.float32
    assert extra["x"][1] == "text"


def test_other_test_loops_are_refused():
    cfg = Config(dict(test_cfg=dict(type="MultiExitLoop")))
    with pytest.raises(ValueError, match="MultiExitLoop"):
        use_amp_testing(cfg)
    cfg = Config(dict(test_cfg=dict()))
    use_amp_testing(cfg)
    assert cfg.test_cfg.type == "smallvit.AutocastTestLoop"
