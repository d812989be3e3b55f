"""Bench jobs on a cluster through submitit, with its local executor in place of Slurm."""

import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from smallvit.bench.cluster import Cluster, hand_over, read_parameters
from smallvit.bench.scheduler import Job, Outcome
from smallvit.errors import UserError

submitit = pytest.importorskip("submitit")


@pytest.fixture(autouse=True)
def _by_value():
    """Pickle this module by value, because submitit's processes cannot import it."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Watcher:
    def __init__(self):
        self.said = []
        self.tick = lambda: None

    def started(self, job):
        self.said.append(f"{job.name} begins")

    def ended(self, job, outcome):
        self.said.append(f"{job.name} ends")


def double(number, report):
    report({"iter": 1})
    print("doubling", os.environ["OMP_NUM_THREADS"])
    return 2 * number


def fail(report):
    raise UserError("no such thing")


def interrupted_once(marker, report):
    """Sleep in the first call until preempted, leaving only a marker file."""
    if os.path.exists(marker):
        return "went on"
    with open(marker, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


def cluster(folder, **parameters):
    parameters = {"cluster": "local", "timeout_min": 5, **parameters}
    return Cluster(str(folder), parameters, 2, {"OMP_NUM_THREADS": "1"})


def test_jobs_wait_for_dependencies_and_report_their_outcome(tmp_path):
    def job(name, function, *arguments, needs=()):
        return Job(name, function, arguments, str(tmp_path / "logs" / f"{name}.txt"), needs)

    watcher = Watcher()
    jobs = [
        job("second", double, 2, needs=["first"]),
        job("first", double, 1),
        job("wrong", fail),
        job("never", double, 3, needs=["wrong"]),
    ]
    found = cluster(tmp_path).run(jobs, watcher)
    assert {name: each.value for name, each in found.items() if each.reason is None} == {
        "first": 2,
        "second": 4,
    }
    assert (found["wrong"].reason, found["wrong"].user_error) == ("no such thing", True)
    assert found["never"].reason == "a required job failed: wrong: no such thing"
    assert watcher.said.index("first ends") < watcher.said.index("second begins")
    assert "doubling 1" in (tmp_path / "logs" / "first.txt").read_text()


def test_a_preempted_job_is_queued_again_and_goes_on(tmp_path):
    pool, watcher, marker = cluster(tmp_path), Watcher(), tmp_path / "begun"
    preempted = []

    def preempt():
        if not preempted and marker.exists() and marker.read_text():
            os.kill(int(marker.read_text()), signal.SIGUSR2)
            preempted.append(True)

    watcher.tick = preempt
    job = Job("long", interrupted_once, (str(marker),), str(tmp_path / "log.txt"))
    assert pool.run([job], watcher)["long"] == Outcome("went on", log=job.log)
    assert preempted


def test_jobs_of_slurm_that_still_run_are_awaited(tmp_path):
    pool = cluster(tmp_path)
    pool.name = "slurm"
    done = SimpleNamespace(
        watcher=SimpleNamespace(get_state=lambda number, mode: "RUNNING"),
        done=lambda: True,
        exception=lambda: None,
        result=lambda: Outcome("done elsewhere"),
    )
    asked = []
    pool.executor = SimpleNamespace(
        _executor=SimpleNamespace(job_class=lambda folder, number: asked.append(number) or done)
    )
    pool._keep({"a": "17_3"})
    found = pool.run([Job("a", double, (1,), str(tmp_path / "log.txt"))], Watcher())
    assert found["a"].value == "done elsewhere"
    assert asked == ["17_3"]


def test_parameters(tmp_path, monkeypatch):
    assert read_parameters(["slurm_partition=gpu", "timeout_min=90"]) == {
        "slurm_partition": "gpu",
        "timeout_min": 90,
    }
    with pytest.raises(UserError, match="--submitit gpu: must be KEY=VALUE"):
        read_parameters(["gpu"])
    with pytest.raises(UserError, match=r"--submitit: .*slurm_partitoin"):
        cluster(tmp_path, slurm_partitoin="gpu")
    args = SimpleNamespace(
        submitit=["cluster=local", "cpus_per_task=3"],
        **dict(threads=None, jobs=None, workers=None, data="photos"),
    )
    pool, slots, workers = hand_over(args, str(tmp_path), 0)
    assert (len(slots), slots[0], workers) == (16, {"OMP_NUM_THREADS": "3"}, 2)
    assert pool.at_once == 16
    args.submitit = ["cluster=local", "cpus_per_task=many"]
    with pytest.raises(UserError, match="cpus_per_task=many: expected a positive integer"):
        hand_over(args, str(tmp_path), 0)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"requires submitit: pip install 'smallvit\[cluster\]'"):
        cluster(tmp_path)
