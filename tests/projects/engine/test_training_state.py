"""Training state that is not part of the model's state dict."""

import logging

import torch
from torch import nn

from smallvit.engine.training_state import collect_training_state, restore_training_state


class Counter(nn.Module):
    """A module with state outside of its state dict."""

    def __init__(self, steps=0):
        super().__init__()
        self.steps = steps

    def training_state(self):
        return {"steps": self.steps, "mean": torch.ones(2) * self.steps}

    def load_training_state(self, state):
        self.steps = state["steps"]


def net(*steps):
    return nn.ModuleDict({"body": nn.Sequential(*map(Counter, steps)), "head": nn.Linear(2, 2)})


def test_state_is_keyed_by_module_names():
    state = collect_training_state(net(3, 7))
    assert {name: each["steps"] for name, each in state.items()} == {"body.0": 3, "body.1": 7}
    other = net(0, 0)
    restore_training_state(other, state)
    assert [each.steps for each in other["body"]] == [3, 7]


def test_missing_state_is_reset_and_reported(monkeypatch):
    said = []
    name = "smallvit.engine.training_state.print_log"
    monkeypatch.setattr(name, lambda text, logger, level: said.append((text, level)))
    other = net(1, 2)
    restore_training_state(other, {"body.0": {"steps": 5}})
    assert [each.steps for each in other["body"]] == [5, 2]
    ((text, level),) = said
    assert "body.1" in text
    assert level == logging.WARNING


def test_wrappers_are_unwrapped():
    from mmengine.model import MMDistributedDataParallel

    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = net(4)
    assert list(collect_training_state(wrapper)) == ["body.0"]
