"""Optimizer states whose parameter groups differ from those in the checkpoint."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, build_optim_wrapper
from torch import nn

from smallvit.engine.checkpoint.groups import regroup
from smallvit.errors import CheckpointError

CONSTRUCTORS = {"merged": "smallvit.MergedGroupsConstructor", "single": None}


def make_runner(kind, **paramwise):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.LayerNorm(4))
    model[2].bias.requires_grad = False
    cfg = dict(optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.1))
    cfg["paramwise_cfg"] = dict(norm_decay_mult=0.0, **paramwise)
    if CONSTRUCTORS[kind]:
        cfg["constructor"] = CONSTRUCTORS[kind]
    wrapper = build_optim_wrapper(model, cfg)
    schedule = CosineAnnealingLR(wrapper, T_max=8)
    return SimpleNamespace(
        model=model, optim_wrapper=wrapper, param_schedulers=[schedule], _load_from="old.pth"
    )


def train(runner, steps):
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in runner.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        runner.optim_wrapper.optimizer.step()
        runner.param_schedulers[0].step()


def checkpoint_of(runner):
    return deepcopy(
        dict(
            optimizer=runner.optim_wrapper.state_dict(),
            param_schedulers=[runner.param_schedulers[0].state_dict()],
            state_dict=runner.model.state_dict(),
        )
    )


def resume(runner, checkpoint):
    regroup(runner, checkpoint)
    runner.model.load_state_dict(checkpoint["state_dict"])
    runner.optim_wrapper.load_state_dict(checkpoint["optimizer"])
    runner.param_schedulers[0].load_state_dict(checkpoint["param_schedulers"][0])


@pytest.mark.parametrize("written", CONSTRUCTORS)
@pytest.mark.parametrize("resumed", CONSTRUCTORS)
def test_resumed_training_equals_uninterrupted_training(written, resumed):
    whole, first, second = make_runner(resumed), make_runner(written), make_runner(resumed)
    train(whole, range(6))
    train(first, range(3))
    resume(second, checkpoint_of(first))
    train(second, range(3, 6))
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    rates = [
        [group["lr"] for group in runner.optim_wrapper.param_groups] for runner in (whole, second)
    ]
    assert rates[0] == pytest.approx(rates[1])
    fused = {group["fused"] for group in second.optim_wrapper.optimizer.param_groups}
    assert fused == ({True} if resumed == "merged" else {None})


def test_moments_follow_their_parameters_into_other_groups():
    """Other settings reorder the parameters, which all have the same shape here."""
    first = make_runner("merged")
    train(first, range(2))
    second = make_runner("merged", custom_keys={"1.weight": dict(decay_mult=0.5)})
    resume(second, checkpoint_of(first))
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        states = [r.optim_wrapper.optimizer.state for r in (first, second)]
        if one.requires_grad:
            assert torch.equal(states[0][one]["exp_avg"], states[1][other]["exp_avg"])


def test_rates_that_differ_within_a_group_are_named():
    first = make_runner("single", custom_keys={"2.weight": dict(lr_mult=0.1)})
    train(first, range(1))
    with pytest.raises(CheckpointError, match=r"old\.pth: \w+ is .* for 2\.weight .*paramwise_cfg"):
        regroup(make_runner("merged"), checkpoint_of(first))


def test_the_state_of_another_model_is_not_modified():
    checkpoint = checkpoint_of(make_runner("single"))
    checkpoint["optimizer"]["param_groups"].pop()
    before = deepcopy(checkpoint["optimizer"]["param_groups"])
    regroup(make_runner("merged"), checkpoint)
    assert checkpoint["optimizer"]["param_groups"] == before
    for broken in (None, 3, {}, {"state": {}, "param_groups": [3]}):
        regroup(make_runner("merged"), {"optimizer": broken})
