"""Locking of the work directory: one training run at a time."""

import fcntl
import json
import multiprocessing
import os
import signal
import socket
import time

import filelock
import pytest
from filelock import FileLock

from run_helpers import Run, preload
from smallvit.engine import work_folder
from smallvit.engine.work_folder import LOCK, OWNER, hold, release
from smallvit.errors import WorkFolderError
from smallvit.utils import locks
from tool_helpers import load_tool, run_main
from toy_runs import toy_config, toy_train

fork = multiprocessing.get_context("fork")


def _hold(folder, holding):
    hold(folder)
    holding.set()
    time.sleep(120)


@pytest.fixture
def other(tmp_path):
    """Start another process that uses a folder."""
    folder, holding = tmp_path / "work", fork.Event()
    process = fork.Process(target=_hold, args=(str(folder), holding))
    process.start()
    assert holding.wait(30)
    yield process
    process.kill()
    process.join()


@pytest.fixture
def said(monkeypatch):
    """Return the logged messages."""
    lines = []
    monkeypatch.setattr(work_folder, "print_log", lambda text, *_, **__: lines.append(text))
    return lines


def test_a_second_training_is_refused(other, tmp_path):
    folder = tmp_path / "work"
    with pytest.raises(WorkFolderError) as caught:
        toy_train(toy_config(folder))
    message = str(caught.value)
    assert f"process {other.pid} on host {socket.gethostname()}, started 20" in message
    assert "--work-dir" in message
    assert list(folder.glob("*.pth")) == []


def test_the_tool_writes_nothing_into_the_folder(other, tmp_path, capsys):
    config = tmp_path / "toy.py"
    toy_config(tmp_path / "work", file=config)
    assert run_main(load_tool("train.py").main, config) == 1
    assert f"(process {other.pid} on host" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [OWNER, LOCK]


@pytest.mark.slow
def test_all_processes_of_the_second_run_end(other, tmp_path):
    preload()
    run = Run(toy_config(tmp_path / "work"), processes=2)
    assert run.wait() == [1, 1]
    assert run.tail(200).count("WorkFolderError: another training is running in") == 2


def test_the_folder_of_a_killed_training_is_taken_over(other, tmp_path, said):
    other.kill()
    other.join()
    hold(str(tmp_path / "work"))
    assert json.loads((tmp_path / "work" / OWNER).read_text())["process"] == os.getpid()
    assert f"interrupted training (process {other.pid} on" in said[-1]
    release(str(tmp_path / "work"))


def test_workers_of_a_killed_training_are_waited_for(other, tmp_path):
    """They still hold the lock if filelock does not release it in forked processes."""
    folder = tmp_path / "work"
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with open(folder / LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fork.Process(target=time.sleep, args=(1,)).start()
    hold(str(folder))
    release(str(folder))


@pytest.mark.parametrize("fails", [False, True])
def test_the_folder_is_free_after_the_run(fails, tmp_path):
    cfg = toy_config(tmp_path / "work", epochs=1)
    if fails:
        cfg.optim_wrapper.optimizer.lr = float("nan")
        with pytest.raises(Exception, match="not finite"):
            toy_train(cfg)
    else:
        toy_train(cfg)
    assert not (tmp_path / "work" / OWNER).exists()
    with FileLock(tmp_path / "work" / LOCK).acquire(timeout=0):
        pass


def test_a_process_may_train_again_in_its_folder(tmp_path):
    cfg = toy_config(tmp_path / "work", epochs=1)
    hold(cfg.work_dir)
    toy_train(cfg)
    toy_train(cfg, resume=True)


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(37, "No locks available")])
def test_file_systems_without_locks(error, tmp_path, monkeypatch, said):
    class Broken:
        def __init__(self, path):
            pass

        def acquire(self, timeout):
            raise error

    monkeypatch.setattr(filelock, "FileLock", Broken)
    hold(str(tmp_path / "work"))
    assert "does not support locks; make sure that no other training" in said[-1]


def test_another_machine_gives_a_warning(tmp_path, said):
    record = {"host": "elsewhere", "process": 7, "began": "yesterday"}
    (tmp_path / OWNER).write_text(json.dumps(record))
    hold(str(tmp_path))
    assert "If the machines do not share locks" in said[-1]
    release(str(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"host": 3, "process": "x"}', "[" * 9999])
def test_a_damaged_record_is_ignored(content, tmp_path):
    (tmp_path / OWNER).write_text(content)
    hold(str(tmp_path))
    release(str(tmp_path))


def test_it_can_be_switched_off(other, tmp_path):
    cfg = toy_config(tmp_path / "work", epochs=1)
    cfg.default_hooks.work_folder = dict(type="smallvit.WorkFolderHook", enabled=False)
    toy_train(cfg)


def test_a_removed_lock_file_does_not_count(tmp_path, monkeypatch):
    """The owner removed the file between open and lock, and a third process created a new one."""
    name, acquire, times = str(tmp_path / "a"), FileLock.acquire, []

    def acquire_late(lock, timeout):
        acquire(lock, timeout=timeout)
        times.append(1)
        if len(times) == 1:
            os.remove(name + locks.LOCK)

    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", acquire_late)
        locks.hold(name, "a", "writer")
    assert len(times) == 2
    with pytest.raises(filelock.Timeout):
        FileLock(name + locks.LOCK).acquire(timeout=0)
    locks.release(name, remove=True)
    assert list(tmp_path.iterdir()) == []
