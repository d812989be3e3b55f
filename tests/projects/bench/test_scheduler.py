"""Scheduler of jobs in child processes: order, results and failures."""

import io
import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest

import smallvit.datasets.io.images  # noqa: F401  # explains errors; imported once for all children
from smallvit.bench import scheduler
from smallvit.bench.plan import Run
from smallvit.bench.progress import Display, LiveDisplay, Timetable, duration
from smallvit.bench.scheduler import Job, Outcome, Pool
from smallvit.errors import UserError


class Diary:
    """A watcher that records its events."""

    def __init__(self):
        self.begun, self.progress, self.outcomes, self.most, self.now = [], [], {}, 0, set()

    def started(self, job):
        self.begun.append(job.name)
        self.now.add(job.name)
        self.most = max(self.most, len(self.now))

    def progressed(self, job, progress):
        self.progress.append((job.name, progress))

    def ended(self, job, outcome):
        self.now.discard(job.name)
        self.outcomes[job.name] = outcome

    def tick(self):
        pass


def double(number, report):
    report({"iter": 1})
    print("doubling", number)
    return 2 * number


def refuse(number, report):
    raise UserError("no such number")


def break_down(number, report):
    return 1 / number


def vanish(number, report):
    os.kill(os.getpid(), signal.SIGKILL)


def tell(number, report):
    return os.environ["SLOT"]


@pytest.fixture
def pool():
    # Forked from here, so that the functions above do not have to be importable.
    return Pool([{"SLOT": "0"}, {"SLOT": "1"}], multiprocessing.get_context("fork"))


@pytest.fixture
def run(pool, tmp_path):
    def run(*jobs):
        diary = Diary()
        made = [
            Job(name, function, (number,), str(tmp_path / "logs" / f"{name}.txt"), needs)
            for name, function, number, needs in jobs
        ]
        outcomes = pool.run(made, diary)
        assert outcomes == diary.outcomes
        return outcomes, diary

    return run


def test_results_and_progress_come_back(run, tmp_path):
    outcomes, diary = run(("a", double, 1, ()), ("b", double, 2, ()), ("c", double, 3, ()))
    assert {name: outcome.value for name, outcome in outcomes.items()} == {"a": 2, "b": 4, "c": 6}
    assert ("c", {"iter": 1}) in diary.progress
    assert diary.most == 2
    assert (tmp_path / "logs" / "b.txt").read_text() == "doubling 2\n"


def test_failures_are_reported_and_only_stop_dependent_jobs(run, tmp_path):
    outcomes, diary = run(
        ("bad", refuse, 0, ()),
        ("after", double, 1, ("bad",)),
        ("behind", double, 1, ("after",)),
        ("broken", break_down, 0, ()),
        ("gone", vanish, 0, ()),
        ("good", double, 1, ()),
    )
    reasons = {name: outcome.reason for name, outcome in outcomes.items()}
    assert reasons == {
        "bad": "no such number",
        "after": "a required job failed: bad: no such number",
        "behind": "a required job failed: after: a required job failed: bad: no such number",
        "broken": "ZeroDivisionError: division by zero",
        "gone": "its process was terminated by signal 9 (possibly out of memory)",
        "good": None,
    }
    assert outcomes["bad"].user_error
    assert not outcomes["broken"].user_error
    assert "Traceback" in (tmp_path / "logs" / "broken.txt").read_text()
    assert "after" not in diary.begun


def test_dependencies_run_first(run):
    _, diary = run(
        ("late", double, 1, ("first", "second")), ("first", double, 1, ()), ("second", tell, 1, ())
    )
    assert diary.begun == ["first", "second", "late"]


def test_each_slot_has_its_environment(run):
    outcomes, _ = run(("a", tell, 0, ()), ("b", tell, 0, ()))
    assert {outcome.value for outcome in outcomes.values()} == {"0", "1"}


def test_an_error_of_the_watcher_leaves_no_process(pool, tmp_path):
    class Careless(Diary):
        def started(self, job):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.run([Job("a", time.sleep, (60,), str(tmp_path / "a.txt"))], Careless())
    assert not multiprocessing.active_children()


class TestDisplay:
    runs = {f"vit, all images, seed {seed}": Run("vit", None, seed, 100, 5) for seed in range(2)}

    def test_plain_lines(self):
        stream = io.StringIO()
        display = Display(self.runs, 1, stream)
        first, second = (Job(name, double, (), "log.txt") for name in self.runs)
        display.started(first)
        display.ended(first, Outcome({"accuracy": 91.234, "train_seconds": 75.0}))
        display.ended(second, Outcome(reason="it broke", log="log.txt"))
        lines = stream.getvalue().splitlines()
        assert lines[0] == "vit, all images, seed 0: begins"
        assert lines[1] == "[1/2] vit, all images, seed 0: accuracy 91.23%, trained in 1 min 15 s"
        assert lines[2] == "[2/2] vit, all images, seed 1: FAILED: it broke (log: log.txt)"

    def test_time_left(self):
        slow, other = Run("dvt", None, 0, 50, 1), Run("vit", None, 0, 100, 1)
        table = Timetable([other, slow], jobs=2)
        assert table.remaining() is None
        table.note(other, 20, now=100.0)  # resumed at step 20
        table.note(other, 40, now=110.0)
        # 0.5 s per step, also assumed for the other method: 60 and 50 steps for two jobs.
        assert table.remaining() == pytest.approx(0.5 * 110 / 2)
        assert table.fraction() == pytest.approx(40 / 150)
        table.note(slow, 0, now=110.0)
        table.note(slow, 10, now=130.0)
        assert table.remaining() == pytest.approx((0.5 * 60 + 2 * 40) / 2)

    def test_durations(self):
        assert [duration(seconds) for seconds in (0.26, 9.96, 200, 7500, None)] == [
            *("0.3 s", "10 s", "3 min 20 s", "2 h 05 min", "some time"),
        ]

    def test_bars_in_a_terminal(self):
        stream = io.StringIO()
        job = Job("vit, all images, seed 0", double, (), "log.txt")
        with LiveDisplay(self.runs, 1, stream) as display:
            display.started(job)
            display.progressed(job, {"iter": 30, "iters": 100, "accuracy": 87.5})
            display.tick()
            display.ended(job, Outcome({"accuracy": 91.0, "train_seconds": 75.0}))
            display.tick()
            assert display.time_left().endswith(" s left")
            last = Job("vit, all images, seed 1", double, (), "log.txt")
            display.started(last)
            display.progressed(last, {"iter": 100, "iters": 100})
            assert display.time_left() == ", testing"
        text = stream.getvalue()
        assert "[1/2] vit, all images, seed 0: accuracy 91.00%, trained in 1 min 15 s" in text
        assert "1/2 runs" in text


def test_data_loader_workers_end_with_the_bench(monkeypatch):
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    child.start()
    reader, writer = multiprocessing.Pipe(duplex=False)
    writer.close()
    monkeypatch.setattr(
        scheduler.multiprocessing, "parent_process", lambda: SimpleNamespace(sentinel=reader)
    )
    statuses = []
    monkeypatch.setattr(scheduler.os, "_exit", statuses.append)
    scheduler._die_with_parent()
    child.join(60)
    assert (statuses, child.exitcode) == ([1], -signal.SIGKILL)
