"""Resuming from training states that are keyed by parameter names."""

import pytest
import torch

from smallvit.errors import CheckpointError
from tiny_runs import cosine, tiny_runner

WARM_UP = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=6),
    dict(type="MultiStepLR", by_epoch=True, milestones=[2], gamma=0.1),
]


def by_name(folder, whole, change=lambda stored: None):
    """Write the state of a finished run as a converter would."""
    content = torch.load(folder / f"epoch_{whole.epoch}.pth", weights_only=True)
    names = [name for name, _ in whole.model.named_parameters()]
    moments = {names[i]: dict(entry) for i, entry in content["optimizer"]["state"].items()}
    stored = dict(epoch=whole.epoch, iteration=whole.iter, moments=moments, average=None)
    change(stored)
    path = folder / "converted.pth"
    torch.save(dict(state_dict=content["state_dict"], training_state=stored), path)
    return str(path)


def trained(folder, epochs, **kwargs):
    runner = tiny_runner(folder, epochs=epochs, **kwargs)
    runner.train()
    return runner


@pytest.mark.parametrize("schedule", [WARM_UP, cosine(4)], ids=["warm-up", "cosine"])
def test_learning_rate_momentum_and_weights_are_resumed(schedule, tmp_path):
    whole = trained(tmp_path / "whole", 4, schedule=schedule)
    first = trained(
        tmp_path / "first", 3, schedule=schedule, train_cfg=dict(by_epoch=True, max_epochs=3)
    )
    path = by_name(tmp_path / "first", first)
    runner = trained(tmp_path / "rest", 4, schedule=schedule, load_from=path, resume=True)
    assert (runner.epoch, runner.iter) == (whole.epoch, whole.iter)
    rates = [each.optim_wrapper.param_groups[0]["lr"] for each in (runner, whole)]
    assert rates[0] == pytest.approx(rates[1])
    # The data order restarts, so the momentum values differ; they only have to exist.
    for each in (runner, whole):
        assert all("momentum_buffer" in s for s in each.optim_wrapper.optimizer.state.values())


def test_momentum_is_assigned_to_its_parameter(tmp_path):
    first = trained(tmp_path, 1)
    path = by_name(tmp_path, first)
    runner = tiny_runner(tmp_path / "rest", epochs=1, load_from=path, resume=True)
    runner.train()  # no iterations left
    old, new = (dict(each.model.named_parameters()) for each in (first, runner))
    for name, parameter in new.items():
        found = runner.optim_wrapper.optimizer.state[parameter]["momentum_buffer"]
        wanted = first.optim_wrapper.optimizer.state[old[name]]["momentum_buffer"]
        assert torch.equal(found, wanted), name


def _as_adam(stored):
    for entry in stored["moments"].values():
        entry["exp_avg"] = entry.pop("momentum_buffer")


def _other_shape(stored):
    stored["moments"]["head.weight"]["momentum_buffer"] = torch.zeros(5, 5)


def _other_name(stored):
    stored["moments"]["neck.weight"] = stored["moments"]["head.weight"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_as_adam, "optimizer state exp_avg, but SGD of this config requires momentum_buffer"),
        (_other_shape, "of head.weight to have shape"),
        (_other_name, "does not train, e.g. neck.weight"),
    ],
)
def test_mismatched_states_are_rejected(change, words, tmp_path):
    path = by_name(tmp_path, trained(tmp_path, 1), change)
    with pytest.raises(CheckpointError, match=words):
        trained(tmp_path / "rest", 2, load_from=path, resume=True)


def test_loops_of_iterations_need_their_number(tmp_path):
    def forget(stored):
        stored["iteration"] = None

    path = by_name(tmp_path, trained(tmp_path, 1), forget)
    loop = dict(type="IterBasedTrainLoop", max_iters=9)
    with pytest.raises(CheckpointError, match="the number of iterations"):
        trained(tmp_path / "rest", 2, load_from=path, resume=True, train_cfg=loop)
