"""Signals to the launchers: forwarding, exit statuses and cleanup of child processes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from forked import Forked
from smallvit.engine.checkpoint.newest import last_checkpoint
from smallvit.utils import torchrun
from tool_helpers import ROOT

TOOLS = ROOT / "tools"
#: Timeout in seconds; generous, because startup is slow on a shared machine.
PATIENCE = 400

#: A worker like train.py, which handles signals after a delay and takes some time to exit.
WORKER = """
import os, signal, sys, time
from smallvit.cli import run_tool
from smallvit.utils.signals import end_request

def main(argv):
    time.sleep(0.5)
    end_request.catch()
    open(os.environ["MARK"] + os.environ["RANK"], "w").close()
    while not end_request.number or {endless}:
        time.sleep(0.05)
    time.sleep(0.3 + float(os.environ["RANK"]))
    open(os.environ["MARK"] + "saved" + os.environ["RANK"], "w").close()
    return 75

sys.exit(run_tool(main))
"""


def left_behind(mark):
    """List processes with a text in their environment: process ids and commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue
    return found


def wait_for(condition, job):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def started(tmp_path):
    """A list for the processes that a test starts in their own sessions.

    They and their children are killed at the end.
    """
    processes = []
    yield processes
    for process in processes:
        process.kill()
    for number in left_behind(f"{tmp_path}/mark"):  # of a failed test, which keep the pipe open
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    for process in processes:
        process.communicate()


@pytest.fixture
def job(tmp_path, started):
    """Start a command."""
    mark = f"{tmp_path}/mark"

    def start(*command, **variables):
        env = {**os.environ, "MARK": mark, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*map(str, command)],
            env={**env, **variables},
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, mark

    return start


@pytest.fixture
def launch(tmp_path, started):
    """Call the main function of launch.py in a forked process, which has torch imported."""
    import torch.distributed.run  # noqa: F401

    def start(*argv):
        mark = f"{tmp_path}/mark"
        call = partial(torchrun.run, [*map(str, argv)])
        process = Forked(call, tmp_path, {"MARK": mark, "OMP_NUM_THREADS": "1"})
        started.append(process)
        return process, mark

    return start


@pytest.fixture
def worker(tmp_path, launch):
    """Start two workers and wait until they are ready."""

    def start(endless=False):
        script = tmp_path / "worker.py"
        script.write_text(WORKER.format(endless=endless))
        process, mark = launch("--standalone", "--nproc_per_node", "2", script)
        wait_for(lambda: all(os.path.exists(f"{mark}{rank}") for rank in "01"), process)
        return process, mark

    return start


def test_the_launcher_returns_the_status_of_its_workers(launch):
    two = ("--standalone", "--nproc_per_node", "2", "--no-python")
    good, _ = launch(*two, "true")
    good.communicate(timeout=PATIENCE)
    bad, _ = launch(*two, "false")
    _, errors = bad.communicate(timeout=PATIENCE)
    assert (good.returncode, bad.returncode) == (0, 1), errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_launcher_waits_for_its_workers(worker, number):
    process, mark = worker()
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, errors
    assert f"forwarded {number.name}" in errors
    assert "Traceback" not in errors
    assert left_behind(mark) == {}
    assert os.path.exists(f"{mark}saved0")


@pytest.mark.slow
def test_a_second_signal_ends_the_job_at_once(worker, monkeypatch):
    monkeypatch.setattr(torchrun, "SAME_REQUEST", 1.0)
    process, mark = worker(endless=True)
    process.send_signal(signal.SIGUSR1)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode not in (0, 75)
    assert left_behind(mark) == {}


def test_a_signal_before_the_workers_begin(launch):
    """The launcher waits for a node that never joins."""
    process, mark = launch("--nnodes", "2", "--master_port", "29511", "worker.py")
    blocked = f"/proc/{process.pid}/status"
    wait_for(lambda: "SigBlk:\t0000000000000000" not in Path(blocked).read_text(), process)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 75
    assert left_behind(mark) == {}


CONFIG = f"""
_base_ = [r"{ROOT}/configs/dwnet/dwnet-mini_digits.py"]
train_dataloader = dict(batch_size=4, num_workers=1, persistent_workers=False)
train_cfg = dict(max_epochs=1000, val_interval=1000)
default_hooks = dict(logger=dict(interval=1))
"""


#: That two processes end at the same step is tested with the hook, without the launcher.
PROCESSES = ["1", pytest.param("2", marks=pytest.mark.exhaustive)]


@pytest.mark.slow
@pytest.mark.parametrize("processes", PROCESSES)
def test_dist_train_saves_and_ends(job, tmp_path, processes):
    """Send SIGUSR1 to the process started by the user while others train."""
    config, work_dir = tmp_path / "digits.py", tmp_path / "work"
    config.write_text(CONFIG)
    command = ["bash", TOOLS / "dist_train.sh", config, processes, "--work-dir", work_dir]
    process, mark = job(*command, SMALLVIT_DEBUG="1")

    def trains():
        logs = work_dir.glob("*/*.log")
        return any("Epoch(train)" in path.read_text() for path in logs)

    wait_for(trains, process)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, errors[-3000:]
    assert errors.count("preempted: SIGUSR1 ended the training after iteration") == 1
    assert "Traceback" not in errors
    assert last_checkpoint(str(work_dir)) == str(work_dir / "preempted.pth")
    until = time.monotonic() + 20
    while left_behind(mark) and time.monotonic() < until:  # data loader workers need some time
        time.sleep(0.1)
    assert left_behind(mark) == {}


class TestSlurm:
    """Slurm launchers, with stubs for the commands of Slurm."""

    @pytest.fixture
    def slurm(self, job, tmp_path):
        programs = tmp_path / "bin"
        programs.mkdir()
        scripts = {
            # Options with separate values are those that the launchers pass.
            "sbatch": """
                echo "sbatch $*" >> "$LOG"
                while [[ $1 != *slurm_batch.sh ]]; do shift; done
                cp "$1" spooled; shift; export SLURM_JOB_ID=77
                bash spooled "$@" & job=$!; echo $job > batch
                wait $job; echo "batch $?" >> "$LOG"
                if [[ -e requeued ]]; then
                    rm requeued; SLURM_RESTART_COUNT=1 bash spooled "$@"; echo "batch $?" >> "$LOG"
                fi""",
            "srun": """
                echo "srun $*" >> "$LOG"
                trap 'echo handed on >> "$LOG"; sleep 0.2; exit 75' USR1
                [[ ${SLURM_RESTART_COUNT:-0} == 0 ]] || exit ${FINAL:-0}
                echo > ready
                while true; do sleep 0.1; done""",
            "scontrol": """echo "scontrol $*" >> "$LOG"; echo > requeued""",
        }
        for name, text in scripts.items():
            (programs / name).write_text("#!/usr/bin/env bash\n" + text)
            (programs / name).chmod(0o755)
        log = tmp_path / "log"

        def start(*arguments, **variables):
            path = f"{programs}:{os.environ['PATH']}"
            variables = {"PATH": path, "LOG": str(log), "PYTHON": "py thon", **variables}
            process, _ = job("bash", TOOLS / "slurm_train.sh", *arguments, **variables)
            wait_for((tmp_path / "ready").exists, process)
            return process, log

        return start

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
    def test_a_preempted_job_is_queued_again_and_resumes(self, slurm, tmp_path, number):
        arguments = ("--requeue", "part", "job", "c.py", "w d", "--cfg-options", "a=b c")
        variables = dict(GPUS="4", GPUS_PER_NODE="2", SRUN_ARGS="--label", GRACE_SECONDS="90")
        process, log = slurm(*arguments, **variables, SBATCH_ARGS="--time=8:00:00")
        os.kill(int((tmp_path / "batch").read_text()), number)
        process.communicate(timeout=30)
        lines = log.read_text().splitlines()
        kinds = [line.split()[0] for line in lines]
        assert kinds == ["sbatch", "srun", "handed", "scontrol", "batch", "srun", "batch"]
        submitted, first, _, requeued, status, second, last = lines
        assert requeued == "scontrol requeue 77"
        assert (status, last) == ("batch 75", "batch 0")
        job = "-p part --job-name job --gres gpu:2 --ntasks-per-node 2 --ntasks 4"
        assert submitted.startswith(f"sbatch {job} --cpus-per-task 5 --requeue")
        assert " --signal=B:USR1@90 --time=8:00:00 " in submitted
        assert first.startswith(f"srun {job} ")
        assert " --kill-on-bad-exit=0 --wait=60 --label py thon -u " in first
        assert first.endswith("c.py --work-dir w d --cfg-options a=b c --launcher slurm")
        assert second == first + " --resume"

    def test_a_failed_job_is_not_requeued(self, slurm, tmp_path):
        process, log = slurm("--requeue", "part", "job", "c.py", "w", "--resume")
        (tmp_path / "requeued").write_text("")  # requeued manually, then fails
        os.kill(int((tmp_path / "batch").read_text()), signal.SIGUSR1)
        process.communicate(timeout=30)
        lines = log.read_text().splitlines()
        assert [line for line in lines if line.startswith("srun")][1].count("--resume") == 1

    def test_without_requeue_srun_gets_the_signal(self, slurm):
        process, log = slurm("part", "job", "c.py", "w")
        process.send_signal(signal.SIGUSR1)
        process.communicate(timeout=30)
        assert process.returncode == 75
        assert log.read_text().splitlines()[1:] == ["handed on"]
