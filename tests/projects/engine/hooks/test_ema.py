"""EMA hook: averages are stored next to the weights and never replace them."""

import torch

from smallvit.engine.hooks.ema import KeptEMAHook
from tiny_runs import tiny_runner


def train(folder, **kwargs):
    hook = KeptEMAHook(momentum=0.25)
    runner = tiny_runner(folder, hooks=[hook], **kwargs)
    runner.train()
    return runner, hook


def test_checkpoint_has_the_weights_and_the_average(tmp_path):
    runner, hook = train(tmp_path, epochs=2)
    content = torch.load(tmp_path / "epoch_2.pth", weights_only=True)
    for name, value in runner.model.state_dict().items():
        average = hook.ema_model.module.state_dict()[name]
        assert torch.equal(content["state_dict"][name], value)
        assert torch.equal(content["ema_state_dict"][f"module.{name}"], average)
        assert not torch.equal(average, value)


def test_the_weights_are_evaluated(tmp_path):
    runner, hook = train(tmp_path, epochs=1)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    for each in ("before_val_epoch", "before_test_epoch"):
        getattr(hook, each)(runner)
        assert all(torch.equal(runner.model.state_dict()[name], before[name]) for name in before)


def test_resumed_training_ends_the_same(tmp_path):
    _, whole = train(tmp_path / "whole", epochs=2)
    train(tmp_path / "parts", epochs=1)
    checkpoint = str(tmp_path / "parts" / "epoch_1.pth")
    runner, resumed = train(tmp_path / "parts", epochs=2, load_from=checkpoint, resume=True)
    assert runner.epoch == 2
    for name, value in whole.ema_model.state_dict().items():
        assert torch.equal(resumed.ema_model.state_dict()[name], value), name
