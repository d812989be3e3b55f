"""Settings changed before resuming either take effect or are reported as ignored."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EarlyStoppingHook, Hook

from smallvit.engine.hooks.resumed_settings import _differences
from smallvit.errors import CheckpointError
from tiny_runs import cosine, tiny_runner


class Rates(Hook):
    """Record the learning rate of each iteration."""

    def __init__(self):
        self.rates = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.get_lr()["lr"][0])


def train(work_dir, **kwargs):
    rates = Rates()
    runner = tiny_runner(work_dir, hooks=[rates, *kwargs.pop("hooks", [])], **kwargs)
    runner.train()
    return runner, rates.rates


EACH = dict(type="smallvit.AtomicCheckpointHook", by_epoch=True, interval=1)


def go_back(work_dir, epoch):
    """Make the checkpoint of an epoch the latest one."""
    for path in work_dir.glob("epoch_*.pth"):
        if int(path.stem.partition("_")[2]) > epoch:
            path.unlink()
    (work_dir / "last_checkpoint").write_text(f"epoch_{epoch}.pth")


@pytest.fixture
def said(monkeypatch):
    """Collect the warnings that runs log."""
    from mmengine.logging import MMLogger

    lines = []
    monkeypatch.setattr(MMLogger, "warning", lambda self, text, *_: lines.append(str(text)))
    return lines


def test_equal_settings_give_no_warning(tmp_path, said):
    settings = dict(epochs=4, schedule=cosine(4), weight_decay=0.1, checkpoint=EACH)
    train(tmp_path, **settings)
    said.clear()
    go_back(tmp_path, 2)
    _, rates = train(tmp_path, resume=True, **settings)
    assert len(rates) == 8
    assert said == []


@pytest.mark.parametrize("schedule", ["cosine", "epochs", "none"])
@pytest.mark.parametrize("lr", [0.1, 0.02])
def test_more_epochs_and_another_rate_take_effect(tmp_path, said, schedule, lr):
    make = {
        "cosine": cosine,
        "epochs": lambda end: [dict(type="LinearLR", start_factor=1.0, end_factor=0.1, end=end)],
        "none": lambda end: None,
    }[schedule]
    train(tmp_path / "a", epochs=2, schedule=make(2))
    said.clear()
    _, resumed = train(tmp_path / "a", epochs=6, schedule=make(6), lr=lr, resume=True)
    _, whole = train(tmp_path / "b", epochs=6, schedule=make(6), lr=lr)
    assert resumed == pytest.approx(whole[8:], rel=1e-12)
    text = "\n".join(said)
    assert re.search(r"6 epochs .* 2\b", text)
    assert ("schedule of the config differ" in text) == (schedule != "none" or lr != 0.1)


def test_lengths_are_given_with_their_unit():
    runner = SimpleNamespace(iter=6, epoch=0, param_schedulers=None)
    by_epoch, by_iteration = dict(length=3, iterations=2), dict(length=100, iterations=None)
    (line,) = _differences(by_epoch, by_iteration, runner)
    assert re.search(r"100 iterations .* 3 epochs$", line)


def test_a_schedule_that_ends_early_is_named(tmp_path, said):
    train(tmp_path, epochs=2, schedule=cosine(2))
    said.clear()
    _, rates = train(tmp_path, epochs=4, schedule=cosine(2), resume=True)
    assert max(rates) < 0.02
    text = "\n".join(said)
    assert "param_scheduler ends at 2 of 4" in text
    assert "param_scheduler.0.end=4" in text


def test_another_batch_size_keeps_the_epoch_and_its_rate(tmp_path, said):
    train(tmp_path / "a", epochs=4, schedule=cosine(4), checkpoint=EACH)
    go_back(tmp_path / "a", 2)
    said.clear()
    runner, rates = train(tmp_path / "a", epochs=4, schedule=cosine(4), batch=8, resume=True)
    _, whole = train(tmp_path / "b", epochs=4, schedule=cosine(4), batch=8)
    assert (runner.epoch, runner.iter, len(rates)) == (4, 8, 4)
    assert rates == pytest.approx(whole[4:], rel=1e-12)
    assert any(re.search(r"batches of 8 .* 4$", line) for line in said)


def test_another_batch_size_in_the_middle_of_an_epoch(tmp_path):
    middle = dict(type="smallvit.AtomicCheckpointHook", by_epoch=False, interval=6)
    train(tmp_path, epochs=2, checkpoint=middle)
    assert (tmp_path / "iter_6.pth").is_file()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_6.pth"))
    runner, rates = train(tmp_path, epochs=2, batch=2, checkpoint=middle, resume=True)
    # Two batches of four are four batches of two: 12 of 16 iterations are done.
    assert (len(rates), runner.iter) == (4, 16)


def test_weight_decay_and_data_are_named(tmp_path, said):
    train(tmp_path, epochs=1, weight_decay=0.1)
    said.clear()
    runner, _ = train(tmp_path, epochs=2, weight_decay=0.3, samples=20, resume=True)
    assert runner.optim_wrapper.param_groups[0]["weight_decay"] == 0.3
    text = "\n".join(said)
    assert "optimizer.weight_decay is now 0.3 as in the config, was 0.1" in text
    assert "training data differ" in text
    assert "16 samples then, 20 now" in text


class Metric(Hook):
    def after_train_epoch(self, runner):
        for hook in runner.hooks:
            if isinstance(hook, EarlyStoppingHook):
                hook.after_val_epoch(runner, {"accuracy": 50.0})


def test_early_stopping_keeps_its_patience(tmp_path):
    def stopping():
        return EarlyStoppingHook(monitor="accuracy", rule="greater", patience=5, min_delta=1.0)

    first = stopping()
    train(tmp_path, epochs=3, hooks=[Metric(), first])
    assert first.wait_count == 2
    second = stopping()
    runner, _ = train(tmp_path, epochs=20, hooks=[Metric(), second], resume=True)
    assert second.wait_count == 5
    assert runner.epoch == 6


class Counter(Hook):
    def __init__(self):
        self.count = 0

    def after_train_epoch(self, runner):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_state_dicts_of_hooks_are_restored(tmp_path):
    # The checkpoint of an epoch is saved after the hooks with higher priority have run.
    train(tmp_path, epochs=2, hooks=[Counter()])
    counter = Counter()
    train(tmp_path, epochs=3, hooks=[counter], resume=True)
    assert counter.count == 3


def test_accumulated_gradients_are_restored(tmp_path):
    # Three batches per epoch.
    settings = dict(epochs=3, accumulate=2, samples=12, checkpoint=EACH)
    whole, _ = train(tmp_path, **settings)
    go_back(tmp_path, 1)
    resumed, _ = train(tmp_path, resume=True, **settings)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_optimizer_of_other_groups_is_refused(tmp_path):
    train(tmp_path, epochs=1)
    runner = tiny_runner(tmp_path, epochs=2, resume=True, model=dict(width=3))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.optimizer.add_param_group(dict(params=[torch.nn.Parameter(torch.ones(1))]))
    with pytest.raises(CheckpointError, match="1 parameter groups of 4 parameters, the config's 2"):
        runner.train()


def test_an_unused_average_is_reported(tmp_path, said):
    settings = dict(epochs=2, schedule=cosine(2), checkpoint=EACH)
    average = dict(type="smallvit.StepEMAHook", momentum=0.1)
    train(tmp_path, hooks=[average], **settings)
    for hooks, expected in (([average], 0), ([], 1)):
        go_back(tmp_path, 1)
        said.clear()
        train(tmp_path, resume=True, hooks=hooks, **settings)
        assert sum("the config has no EMA hook" in line for line in said) == expected


def test_a_finished_training_is_reported(tmp_path, said):
    train(tmp_path, epochs=3, schedule=cosine(3), checkpoint=EACH)
    said.clear()
    train(tmp_path, resume=True, epochs=2, schedule=cosine(2), checkpoint=EACH)
    assert any("nothing is left to train: 3 of 2 are done" in line for line in said)
