"""Buffers that differ between ranks: gathering, saving and restoring them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from smallvit.engine import rank_buffers
from smallvit.engine.rank_buffers import models_of, own_buffers, restore_buffers


def runner(value):
    """A run of a model with batch norm and an EMA hook."""
    model, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    model.running_mean += value
    average.running_var += value
    hooks = [SimpleNamespace(), SimpleNamespace(ema_model=average)]
    return SimpleNamespace(model=model, hooks=hooks)


@pytest.fixture
def as_second_rank(monkeypatch):
    """Let the broadcast return the buffers of rank 0, so that this process acts as rank 1."""
    first = {name: buffer.clone() for name, buffer in rank_buffers._buffers(runner(0.0)).items()}

    def broadcast(shared):
        shared[0] = first

    monkeypatch.setattr(rank_buffers, "broadcast_object_list", broadcast)


def test_the_model_and_its_averages_are_visited():
    run = runner(0.0)
    assert list(models_of(run)) == [("", run.model), ("ema.", run.hooks[1].ema_model)]


def test_rank_0_has_no_own_buffers():
    assert own_buffers(runner(1.0)) == {}


def test_differing_buffers_are_saved_and_restored(as_second_rank):
    own = own_buffers(runner(3.0))
    assert set(own) == {"running_mean", "ema.running_var"}
    fresh = runner(0.0)
    restore_buffers(fresh, {**own, "gone": torch.ones(1)})
    assert fresh.model.running_mean.tolist() == [3.0, 3.0]
    assert fresh.hooks[1].ema_model.running_var.tolist() == [4.0, 4.0]
    assert fresh.model.running_var.tolist() == [1.0, 1.0]


def test_saved_buffers_are_copies(as_second_rank):
    run = runner(3.0)
    own = own_buffers(run)
    run.model.running_mean.zero_()
    assert own["running_mean"].tolist() == [3.0, 3.0]
