"""Preemption: a signal ends training at a step, and the resumed run equals an uninterrupted one."""

import os
import signal
import threading
from functools import partial

import pytest
import torch
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import HOOKS
from torch.utils.data import DataLoader

from run_helpers import Run, preload
from smallvit.cli import run_tool
from smallvit.engine.checkpoint.newest import last_checkpoint
from smallvit.engine.run_record import read_record
from smallvit.errors import PreemptedError
from smallvit.utils import signals
from smallvit.utils.signals import end_request
from tiny_runs import cosine, tiny_runner
from toy_runs import toy_config, toy_train


@HOOKS.register_module()
class Ask(Hook):
    """Send a signal to this process at an iteration, on one rank."""

    def __init__(self, at, number=signal.SIGUSR1, rank=None):
        self.at, self.number, self.rank = at, number, rank

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.at and self.rank in (None, runner.rank):
            os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class ScheduledHook(CheckpointHook):
    """A user-defined checkpoint hook."""


@pytest.fixture(autouse=True)
def forget():
    yield
    end_request._forget()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def state(path):
    content = torch.load(path, weights_only=True)
    keys = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers", "smallvit")
    return {key: content[key] for key in keys if key in content}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


BY_EPOCH = dict(epochs=3, schedule=cosine(3))
BY_ITER = dict(
    train_cfg=dict(by_epoch=False, max_iters=11),
    checkpoint=dict(type="smallvit.AtomicCheckpointHook", by_epoch=False, interval=3),
)


@pytest.mark.parametrize(
    ("settings", "at", "number", "final"),
    [
        (BY_EPOCH, 2, signal.SIGTERM, "epoch_3.pth"),
        (BY_EPOCH, 4, signal.SIGUSR1, "epoch_3.pth"),
        (dict(BY_EPOCH, accumulate=3), 5, signal.SIGUSR1, "epoch_3.pth"),
        (BY_ITER, 5, signal.SIGTERM, "iter_11.pth"),
        (dict(BY_ITER, accumulate=2), 9, signal.SIGUSR1, "iter_11.pth"),
    ],
    ids=["mid-epoch", "end of epoch", "accumulated", "iterations", "accumulated iterations"],
)
def test_the_resumed_run_equals_the_whole_one(settings, at, number, final, tmp_path):
    def train(folder, *more, **kwargs):
        hooks = [EMAHook(momentum=0.25), *more]
        tiny_runner(tmp_path / folder, hooks=hooks, **settings, **kwargs).train()
        return state(tmp_path / folder / final)

    with pytest.raises(PreemptedError) as caught:
        train("parts", Ask(at, number))
    path = tmp_path / "parts" / "preempted.pth"
    assert signal.Signals(number).name in str(caught.value)
    assert f"after iteration {at}; {path} is saved" in str(caught.value)
    assert caught.value.status == 75
    assert last_checkpoint(str(path.parent)) == str(path)
    assert read_record(str(path.parent))["status"] == "preempted"
    resumed = train("parts", resume=True)
    assert not path.exists()
    assert same(resumed, train("whole"))


@pytest.mark.parametrize("hook", ["ScheduledHook", None])
def test_with_another_checkpoint_hook_or_none(hook, tmp_path):
    cfg = toy_config(tmp_path / "work", epochs=3, hook=hook)
    cfg.custom_hooks = [dict(type="Ask", at=3)]
    if hook is None:
        cfg.default_hooks.checkpoint = None
    with pytest.raises(PreemptedError):
        toy_train(cfg)
    assert last_checkpoint(cfg.work_dir) == str(tmp_path / "work" / "preempted.pth")
    cfg.custom_hooks = []
    assert toy_train(cfg, resume=True).iter == 6


@HOOKS.register_module()
class AskAndSpoil(Ask):
    def after_train_iter(self, runner, *args, **kwargs):
        super().after_train_iter(runner, *args, **kwargs)
        runner.model.layer.weight.data[0, 0] = float("nan")


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    cfg = toy_config(tmp_path / "work")
    cfg.custom_hooks = [dict(type="AskAndSpoil", at=1)]
    with pytest.raises(Exception, match="not finite"):
        toy_train(cfg)
    assert list((tmp_path / "work").glob("*.pth")) == []


def test_it_can_be_switched_off(tmp_path):
    cfg = toy_config(tmp_path / "work")
    cfg.default_hooks.preemption = dict(type="smallvit.PreemptionHook", enabled=False)
    seen = []
    cfg.custom_hooks = [dict(type="Ask", at=1)]
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        toy_train(cfg)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_existing_signal_handlers_are_kept(tmp_path):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        cfg = toy_config(tmp_path / "work")
        cfg.custom_hooks = [dict(type="Ask", at=1)]
        toy_train(cfg)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_thread_trains_without_signal_handlers(tmp_path):
    thread = threading.Thread(target=toy_train, args=(toy_config(tmp_path / "work", epochs=1),))
    thread.start()
    thread.join()
    assert (tmp_path / "work" / "epoch_1.pth").exists()


@pytest.mark.slow
def test_a_signal_to_one_process_ends_both_at_one_step(tmp_path):
    preload()

    def train(folder, resume=False, **ask):
        def prepare(cfg):
            cfg.custom_hooks = [dict(type="Ask", **ask)] if ask else []

        cfg = toy_config(tmp_path / folder, epochs=5)
        cfg.train_dataloader.batch_size = 1
        return Run(cfg, processes=2, resume=resume, prepare=prepare)

    first = train("parts", at=3, rank=1)
    assert first.wait() == [1, 1], first.tail()
    assert first.tail(300).count("SIGUSR1 ended the training after iteration 4") == 2
    train("parts", resume=True).finish()
    train("whole").finish()
    assert same(*(state(tmp_path / each / "epoch_5.pth") for each in ("parts", "whole")))


class TestSignals:
    @pytest.fixture
    def ended(self, monkeypatch):
        """Record signals that would end the process."""
        sent = []
        monkeypatch.setattr(signals.os, "kill", lambda process, number: sent.append(number))
        return sent

    def test_an_immediate_second_signal_is_ignored(self, ended, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
        end_request.catch()
        for after in (0.0, 0.5, 4.0):
            now[0] = 100.0 + after
            signal.raise_signal(signal.SIGTERM)
        assert (ended, end_request.number) == ([], signal.SIGTERM)
        now[0] = 106.0
        signal.raise_signal(signal.SIGTERM)
        assert ended == [signal.SIGTERM]

    def test_saving_is_not_interrupted(self, ended, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
        end_request.catch()
        signal.raise_signal(signal.SIGUSR1)
        now[0] = 200.0
        end_request.serve()
        end_request.release()
        now[0] = 210.0
        signal.raise_signal(signal.SIGTERM)
        assert ended == []
        now[0] = 231.0
        signal.raise_signal(signal.SIGTERM)
        assert ended == [signal.SIGTERM]

    def test_before_the_first_step(self, capsys):
        def main(argv):
            signal.raise_signal(signal.SIGUSR1)

        assert run_tool(main, [], preemptible=True) == 75
        assert capsys.readouterr().err == "preempted: received SIGUSR1 before the first step\n"


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return index


def test_a_signal_to_the_group_spares_the_data_loader():
    """Workers only react to their parent."""
    loader = DataLoader(
        Numbers(), num_workers=1, worker_init_fn=partial(signals.start_shielded, None)
    )
    batches = iter(loader)
    next(batches)
    worker = batches._workers[0]
    other = os.fork()
    if not other:  # a process other than the parent
        for number in signals.ASKING:
            os.kill(worker.pid, number)
        os._exit(0)
    os.waitpid(other, 0)
    assert len(list(batches)) == 7
    batches = iter(loader)
    next(batches)
    worker = batches._workers[0]
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
