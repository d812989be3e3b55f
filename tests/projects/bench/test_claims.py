"""Locks of bench jobs: each job is run once, by the first process that claims it."""

import json
import multiprocessing
import time

from smallvit.bench.claims import claimed, left_by
from smallvit.bench.scheduler import Job
from smallvit.bench.settings import Run

RESULT = dict(accuracy=50.0, val_accuracy=50.0, train_seconds=1.0, iters=30, params=1)


def job_in(folder, function="train", iters=30):
    arguments = (None, Run("vit", None, 0, iters, 1), 10, 0, str(folder), None)
    if function == "store":
        arguments = (None, None, 10, str(folder), str(folder / "features"))
    return Job("vit", function, arguments, str(folder / "log.txt"))


def do(folder):
    """Run a job in a process."""
    job = job_in(folder)
    with claimed(job, patience=0.02):
        if left_by(job) is not None:
            return
        with open(folder / "trained.txt", "a") as file:
            file.write("once\n")
        time.sleep(0.3)
        (folder / "result.json").write_text(json.dumps(RESULT))


def test_two_processes_never_do_the_same_run(tmp_path):
    fork = multiprocessing.get_context("fork")
    several = [fork.Process(target=do, args=(tmp_path,)) for _ in range(3)]
    for process in several:
        process.start()
    for process in several:
        process.join(30)
    assert [process.exitcode for process in several] == [0, 0, 0]
    assert (tmp_path / "trained.txt").read_text() == "once\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "trained.txt"]


def test_a_killed_process_releases_its_run(tmp_path):
    fork = multiprocessing.get_context("fork")
    begun = fork.Event()

    def die():
        with claimed(job_in(tmp_path)):
            begun.set()
            time.sleep(60)

    process = fork.Process(target=die)
    process.start()
    assert begun.wait(30)
    process.kill()
    process.join()
    do(tmp_path)
    assert (tmp_path / "trained.txt").read_text() == "once\n"


def test_remaining_work_of_a_job(tmp_path):
    for function in ("train", "attempt", "store", "measure"):
        assert left_by(job_in(tmp_path, function)) is None
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    assert left_by(job_in(tmp_path))["accuracy"] == 50.0
    assert left_by(job_in(tmp_path, iters=60)) is None  # an extended run continues
    (tmp_path / "trial.json").write_text(json.dumps(dict(accuracy=1.0, iters=30, seconds=2.0)))
    assert left_by(job_in(tmp_path, "attempt"))["iters"] == 30
    (tmp_path / "stored.json").write_text('{"seconds": 1.0}')
    assert left_by(job_in(tmp_path, "store")) is None  # its features were deleted
    (tmp_path / "features").mkdir()
    assert left_by(job_in(tmp_path, "store")) == {"seconds": 1.0}


def test_a_pretraining_without_weights_is_repeated(tmp_path):
    found = dict(method="masked", note="", images=9, iters=5, seconds=1.0, features={})
    (tmp_path / "pretraining.json").write_text(json.dumps(found))
    run = Run("vit+masked", None, 0, 30, 1, pretraining=5)
    job = Job("vit", "pretrain", (None, run, 10, 0, str(tmp_path)), str(tmp_path / "log.txt"))
    assert left_by(job) is None
    (tmp_path / "backbone.pth").touch()
    assert left_by(job) == found
