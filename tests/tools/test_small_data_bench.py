"""The bench command on noise and digits: interrupted, failing and reported runs."""

import csv
import errno
import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from forked import PATIENCE
from run_helpers import preload
from smallvit.bench import run as course
from smallvit.bench.scheduler import Pool
from tool_helpers import ROOT, load_tool, run_main, write_pictures

bench = load_tool("small_data_bench.py")

NETWORK = """
model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.CifarResNet", depth=8, base_channels=4),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=2, in_channels={channels}),
)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images, a network that can be trained, and one that fails."""
    folder = tmp_path_factory.mktemp("bench")
    write_pictures(folder / "images")
    for name, channels in (("good", 16), ("bad", 17)):
        (folder / f"{name}.py").write_text(NETWORK.format(channels=channels))
    return folder


@pytest.fixture
def run(files, monkeypatch, capfd):
    """Run the bench in this process; its children are forked and start immediately."""
    preload("mmpretrain")
    monkeypatch.setattr(course, "Pool", partial(Pool, context=multiprocessing.get_context("fork")))
    monkeypatch.setattr("smallvit.bench.worker.TRIAL_SECONDS", 0.0)
    monkeypatch.setattr("smallvit.bench.measuring.SECONDS", 0.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["tools/small_data_bench.py", "--data", "my <images>"])

    def run(*argv, data=files / "images"):
        status = run_main(bench.main, "--data", data, *argv)
        said = capfd.readouterr()
        return status, said.out, said.err

    return run


class Page(HTMLParser):
    """Collects the resources that a page loads, and the text of its tables."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.cells = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("img", "meta"):
            self.open.append(tag)
        named = dict(attributes)
        self.loaded += [named[key] for key in ("src", "href") if key in named]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert page.open == []
    return page


@pytest.fixture
def finished(run, files, tmp_path):
    """A bench with one working and one failing method."""
    out = tmp_path / "out"
    argv = ("--methods", files / "good.py", files / "bad.py", "--samples-per-class", "2", "all")
    argv += ("--seeds", "2", "--iters", "4", "--batch-size", "4", "--jobs", "2", "--out", out)
    return out, argv, run(*argv)


class TestBench:
    def test_from_images_to_report(self, finished, run, files):
        out, argv, (status, said, _) = finished
        good, bad = str(files / "good.py"), str(files / "bad.py")
        # A failed run does not stop the others and is reported at the end.
        assert status == 1
        assert f"FAILED: {bad}, 2 per class, seed 0: " in said
        rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
        assert [(row["method"], row["samples_per_class"], row["seed"]) for row in rows] == [
            *((good, count, seed) for seed in "01" for count in ("2", "all")),
        ]
        assert all(0 <= float(row["test_accuracy"]) <= 100 for row in rows)
        assert float(rows[0]["images_per_second"]) > 0
        table = (out / "table.md").read_text()
        assert good in table
        assert " ± " in table
        assert bad not in table
        folders = list((out / "runs").glob("*good*/*/*"))
        assert len(folders) == 4
        for folder in folders:
            names = {path.name for path in folder.iterdir()}
            assert {"config.py", "model.pth", "result.json", "log.txt"} <= names
            assert not [name for name in names if name.startswith(("best", "iter"))]
        self.predict_with(folders[0] / "model.pth")
        self.look_at_report(out, good, bad)
        self.try_again(out, argv, run)

    def predict_with(self, path):
        """The weights stored by a bench can be used for prediction."""
        from smallvit.apis import Predictor

        found = Predictor(path, device="cpu")
        assert found.classes
        assert found(np.zeros((32, 32, 3), np.uint8)).name in found.classes

    def look_at_report(self, out, good, bad):
        page = read_page(out / "report.html")
        assert len(page.loaded) >= 4
        assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
        text = (out / "report.html").read_text()
        assert "http" not in text
        assert "my &lt;images&gt;" in text  # the command
        assert good in page.cells
        assert f"{bad}, all images, seed 1" in page.cells
        assert "2 seeds: the standard deviations are rough" in text
        assert "One of the 10 test images is 10.00 points." in text

    def try_again(self, out, argv, run):
        before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*/result.json")}
        status, said, _ = run(*argv)
        assert status == 1
        assert "4 of 8 runs are already finished" in said
        assert "4 runs, 2 at a time" in said  # failed runs
        assert before == {path: path.stat().st_mtime_ns for path in before}
        page = (out / "report.html").read_text()
        (out / "report.html").unlink()
        assert run("--report-only", "--out", out)[0] == 1
        assert len((out / "report.html").read_text()) == len(page)
        status, _, error = run(*argv, "--image-size", "64")
        assert status == 1
        assert "image_size was 32 and is 64 now" in error

    def test_guided_by_a_teacher(self, run, tmp_path):
        out = tmp_path / "out"
        argv = ("--methods", "vit+guidance", "vit+guidance-offline", "--seeds", "1", "--jobs", "2")
        argv += ("--samples-per-class", "2", "--iters", "2", "--batch-size", "2", "--out", out)
        status, _, error = run(*argv)
        assert (status, error) == (0, "")
        runs = json.loads((out / "plan.json").read_text())["runs"]
        assert [(each["method"], each["iters"]) for each in runs] == [
            *(("teacher", 2), ("vit+guidance", 2), ("vit+guidance-offline", 2)),
        ]
        assert "teacher" not in (out / "table.md").read_text()
        features = out / "runs/teacher/2/seed0/features"
        assert json.loads((features / "header.json").read_text())["data_set"]["length"] == 12
        times = {
            row["method"]: row["train_seconds"]
            for row in csv.DictReader((out / "results.csv").open())
        }
        assert set(times) == {"teacher", "vit+guidance", "vit+guidance-offline"}
        assert "ResNet-20 trained on the same subset" in (out / "report.html").read_text()


def test_a_table_with_several_labels(run, files, tmp_path):
    table = files / "images" / "labels.csv"
    rows = [
        f"{path.relative_to(table.parent)},{labels},{path.parts[-3]}"
        for path in sorted(table.parent.glob("*/*/*.png"))
        for labels in [path.parent.name + ";noise" * (path.stem in "024")]
    ]
    table.write_text("\n".join(["file,labels,split", *rows]))
    (tmp_path / "three.py").write_text(NETWORK.format(channels=16).replace("s=2", "s=3"))
    argv = ("--methods", tmp_path / "three.py", "--seeds", "1", "--epochs", "2", "--jobs", "1")
    try:
        status, said, error = run(*argv, "--batch-size", "4", "--out", tmp_path / "out", data=table)
    finally:
        table.unlink()
    assert (status, error) == (0, "")
    assert "seed 0: mAP " in said
    (row,) = csv.DictReader((tmp_path / "out/results.csv").open())
    assert 0 < float(row["test_accuracy"]) <= 100
    assert "mAP" in (tmp_path / "out/report.html").read_text()
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    assert "labels.csv" in plan["settings"]["data"]
    images = plan["data"]["images"]["train"]
    assert images < sum(plan["data"]["counts"]["train"])  # some images have two labels
    assert int(row["iters"]) == math.ceil(2 * images / 4)


def test_the_time_of_a_method_includes_its_pretraining(run, files, tmp_path):
    out, more = tmp_path / "out", files / "images"
    method = "vit+structured+shortcut+masked"
    argv = ("--methods", method, "--seeds", "1", "--jobs", "1", "--unlabeled", more)
    argv += ("--samples-per-class", "2", "--iters", "10", "--batch-size", "2", "--out", out)
    status, said, error = run(*argv)
    assert (status, error) == (0, "")
    (planned,) = json.loads((out / "plan.json").read_text())["runs"]
    assert planned["iters"] == 5
    folder = out / "runs" / method / "2/seed0"
    result = json.loads((folder / "result.json").read_text())["pretraining"]
    # The images of both classes without the validation and test images.
    assert (result["iters"], result["images"]) == (planned["pretraining"], 12)
    assert set(result["features"]) == {"rank", "spread", "knn"}
    assert f"{method}, 2 per class, seed 0, pretraining: {result['iters']} steps on 12 im" in said
    assert "100.0% of the parameters without the heads" in (folder / "log.txt").read_text()
    (row,) = csv.DictReader((out / "results.csv").open())
    assert float(row["pretraining_seconds"]) == pytest.approx(result["seconds"], abs=1e-3)
    page = (out / "report.html").read_text()
    assert result["note"] in page
    assert "spent 50% of its time on it, on the training images of its subset" in page
    assert f"and the images of {more}" in page
    # The pretraining of a deleted run is reused.
    (folder / "result.json").unlink()
    _, said, _ = run(*argv)
    assert "pretraining:" not in said
    assert "accuracy" in said
    status, _, error = run(*argv, "--pretraining-share", "0.3")
    assert status == 1
    assert "pretraining was 0.5 and is 0.3 now" in error


@pytest.mark.slow
def test_an_interrupted_pretraining_is_resumed(files, tmp_path, monkeypatch):
    from smallvit.bench import pretraining
    from smallvit.bench.plan import BenchSettings, Run

    pretrain = pretraining.pretrain
    # Report every step, even if steps are fast.
    monkeypatch.setattr(pretraining, "Progress", partial(pretraining.Progress, every=0.0))
    settings = BenchSettings(str(files / "images"), 32, 2, True, "iters", 10)
    whole = Run("vit+instance", None, 0, 5, 1, pretraining=6)

    def interrupt(progress):
        if progress["iter"] == 4:
            raise InterruptedError

    arguments = (settings, whole, 2, 0)
    with pytest.raises(InterruptedError):
        pretrain(*arguments, str(tmp_path / "cut"), interrupt)
    begun = []
    found = pretrain(*arguments, str(tmp_path / "cut"), lambda p: begun.append(p["iter"]))
    assert begun[0] == 4
    other = pretrain(*arguments, str(tmp_path / "whole"), lambda progress: None)
    assert found["features"] == other["features"]
    one, two = (
        torch.load(tmp_path / name / "backbone.pth")["state_dict"] for name in ("cut", "whole")
    )
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert one.keys() == two.keys()


def test_runs_are_extended_from_before_the_learning_rate_decay(run, files, tmp_path, monkeypatch):
    def once(runs, results, doublings):
        assert doublings == 1
        return set() if runs[0].begun else {(each.method, each.samples) for each in runs}

    monkeypatch.setattr(course, "to_prolong", once)
    argv = ("--methods", files / "good.py", "--seeds", "1", "--iters", "10", "--batch-size", "4")
    status, said, error = run(*argv, "--until-flat", "1", "--jobs", "1", "--out", tmp_path)
    assert (status, error) == (0, "")
    assert f"still rising, continued with twice the steps: {files / 'good.py'}" in said
    (folder,) = tmp_path.glob("runs/*/all/seed0")
    result = json.loads((folder / "result.json").read_text())
    assert result["iters"] == 20
    # The validation at step 10 used the constant learning rate; the end of the first run is
    # dropped.
    assert [at for at, _ in result["curve"]] == [10, 20]
    record = json.loads((folder / "run.json").read_text())
    assert [each["from_iter"] for each in record["sessions"]] == [0, 8]
    predictions = json.loads((folder / "predictions.json").read_text())
    right = sum(
        a == b for a, b in zip(predictions["labels"], predictions["predicted"], strict=True)
    )
    assert 10.0 * right == pytest.approx(result["accuracy"])
    assert predictions["images"][0] == "test/bright/0.png"


def test_learning_rates_are_searched_and_stored(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr("smallvit.bench.plan.LEAST_ITERATIONS", 2)
    argv = ("--methods", files / "good.py", "--seeds", "1", "--iters", "20", "--batch-size", "2")
    status, said, error = run(*argv, "--jobs", "2", "--out", tmp_path)
    assert (status, error) == (0, "")
    assert "choosing the learning rate: 3 trials of 4 steps" in said
    plan = json.loads((tmp_path / "plan.json").read_text())
    (chosen,) = plan["chosen"]
    assert set(chosen["trials"]) == {"0.3", "1", "3"}
    assert plan["runs"][0]["rate"] == chosen["rate"]
    assert chosen["trials"][f"{chosen['rate']:g}"] == max(chosen["trials"].values())
    # Finished trials are not repeated, even if the plan lost their result.
    plan["chosen"] = []
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    for result in tmp_path.glob("runs/*/all/seed0/result.json"):
        result.unlink()
    monkeypatch.setattr(course.Bench, "_train", lambda bench, names: None)
    _, said, _ = run(*argv, "--jobs", "2", "--out", tmp_path)
    assert "choosing the learning rate" not in said
    assert json.loads((tmp_path / "plan.json").read_text())["chosen"] == [chosen]
    # An added seed uses the learning rate of the others.
    monkeypatch.setattr(course.Bench, "train", lambda bench: None)
    run(*argv, "--seeds", "2", "--jobs", "2", "--out", tmp_path)
    runs = json.loads((tmp_path / "plan.json").read_text())["runs"]
    assert [each["rate"] for each in runs] == [chosen["rate"]] * 2


def test_a_choice_without_a_trial_is_not_kept(run, files, tmp_path, monkeypatch):
    failed = dict(samples=None, rate=1.0, weight="", seconds=0, trials={}, weights={})
    name = str(files / "good.py")
    monkeypatch.setattr(course, "search", lambda *rest: [failed | dict(method=name)])
    monkeypatch.setattr(course.Bench, "_train", lambda bench, names: None)
    argv = ("--methods", name, "--seeds", "1", "--iters", "400", "--batch-size", "2")
    status, said, _ = run(*argv, "--jobs", "1", "--out", tmp_path)
    assert status == 1  # no run has finished
    assert f"{name}: all trials failed, using the recipe's learning rate" in said
    assert json.loads((tmp_path / "plan.json").read_text())["chosen"] == []


def test_students_learn_from_a_teacher_of_their_own_length(run, tmp_path, monkeypatch):
    def once(runs, results, doublings):
        return {(each.method, each.samples) for each in runs if not each.begun}

    monkeypatch.setattr(course, "to_prolong", once)
    argv = ("--methods", "vit+guidance", "resnet", "--seeds", "1", "--iters", "2", "--no-lr-search")
    argv += ("--samples-per-class", "2", "--batch-size", "2", "--until-flat", "1", "--jobs", "1")
    kept = []
    train = course.Bench._train

    def look(bench, names):
        train(bench, names)
        kept.append((tmp_path / "runs/resnet/2/seed0/teacher.pth").is_file())

    monkeypatch.setattr(course.Bench, "_train", look)
    status, _, error = run(*argv, "--out", tmp_path)
    assert (status, error) == (0, "")
    assert kept == [False, True, True, True]  # before the reference is continued


class TestMinutes:
    def test_the_reported_minimum_budget_is_sufficient(self, run, files, tmp_path):
        out = tmp_path / "out"
        argv = ("--seeds", "1", "--jobs", "2", "--batch-size", "2", "--out", out)
        argv += ("--methods", files / "good.py", files / "bad.py")
        status, _, error = run(*argv, "--budget-minutes", "0.001")
        assert status == 1
        assert not (out / "plan.json").exists()
        # Timings vary; with twice the budget, no trial is short of the minimum.
        least = float(error.partition("at least --budget-minutes ")[2].partition(",")[0])
        minutes = ("--budget-minutes", 2 * least)
        status, said, error = run(*argv, *minutes)
        assert (status, error) == (1, "")
        assert "testing 1 methods" in said  # the failed one; the other's speed was kept
        assert said.count(f"FAILED: {files / 'bad.py'}, all images, seed 0: ") == 1
        plan = json.loads((out / "plan.json").read_text())
        assert plan["runs"][0]["iters"] >= 20
        status, _, error = run(*argv, "--methods", "dhvt", *minutes)
        assert status == 1
        assert "among other methods than dhvt" in error

    def test_a_guided_method_is_tried_with_a_teacher(self, run, tmp_path):
        argv = ("--methods", "vit+guidance", "--seeds", "1", "--batch-size", "2")
        status, said, error = run(*argv, "--budget-minutes", "0.001", "--out", tmp_path)
        assert status == 1
        assert "testing 2 methods" in said
        assert "at least --budget-minutes" in error


def processes_of(session: int) -> list[int]:
    """List the processes of a session except for zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_killed_bench_leaves_no_process_and_is_resumed(run, files, tmp_path):
    out = tmp_path / "out"
    argv = ["--methods", str(files / "good.py"), "--seeds", "2", "--iters", "60"]
    argv += ["--batch-size", "4", "--jobs", "1", "--out", str(out)]
    command = [sys.executable, str(ROOT / "tools/small_data_bench.py")]
    with (tmp_path / "log.txt").open("w") as log:
        first = subprocess.Popen(
            [*command, "--data", str(files / "images"), *argv],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    wait_for(lambda: list(out.glob("runs/*/all/seed1/iter_*.pth")), first)
    running = processes_of(first.pid)
    assert len(running) > 1
    first.kill()
    first.wait()
    wait_for(lambda: not processes_of(first.pid))
    assert not list(out.glob("runs/*/all/seed1/result.json"))
    kept = next(out.glob("runs/*/all/seed0/result.json")).stat().st_mtime_ns

    status, said, error = run(*argv)
    assert (status, error) == (0, "")
    assert "1 of 2 runs are already finished" in said
    assert next(out.glob("runs/*/all/seed0/result.json")).stat().st_mtime_ns == kept
    record = json.loads(next(out.glob("runs/*/all/seed1/run.json")).read_text())
    assert len(record["sessions"]) == 2
    assert record["sessions"][1]["from_iter"] >= 20
    assert len(list(csv.DictReader((out / "results.csv").open()))) == 2


def wait_for(condition, process=None):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.02)


class TestMistakes:
    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["--methods", "vti"], "no method 'vti'; did you mean vit"),
            (["--samples-per-class", "9"], "class 'bright' has only 6 training images"),
            (["--data", "/no/such"], "--data /no/such: no such folder"),
            (["--data", "digits", "--image-size", "224"], "the digits are 8x8 pixels"),
            (["--report-only"], "no bench found in"),
            (["--methods", "timm:resnet81"], "has no model 'resnet81'; did you mean"),
        ],
    )
    def test_errors_are_reported_in_a_sentence(self, run, tmp_path, argv, said):
        status, _, error = run(*argv, "--out", tmp_path / "out")
        assert status == 1
        assert said in error
        assert "Traceback" not in error

    def test_runs_without_their_plan(self, run, tmp_path):
        """Their settings are unknown, so they are not taken for those of this command."""
        (tmp_path / "runs").mkdir()
        status, _, error = run("--methods", "vit", "--out", tmp_path)
        assert status == 1
        assert f"{tmp_path} contains runs but no plan.json" in error

    def test_a_folder_that_cannot_be_written(self, run, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        for out in (tmp_path / "file", tmp_path / "file" / "below"):
            status, _, error = run("--methods", "vit", "--out", out)
            assert status == 1
            assert f"cannot write {out}: " in error
            assert "another --out" in error

        def refuse(out):
            raise PermissionError(errno.EACCES, "Permission denied", f"{out}/table.md")

        monkeypatch.setattr(course, "read_plan", lambda out: {})
        monkeypatch.setattr("smallvit.bench.outputs.write_outputs", refuse)
        status, _, error = run("--report-only", "--out", tmp_path)
        assert status == 1
        assert f"cannot write {tmp_path}/table.md: Permission denied; use another --out" in error

    def test_no_images(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        status, _, error = run("--out", tmp_path / "out", data=tmp_path / "empty")
        assert status == 1
        assert "empty" in error
        assert "Traceback" not in error

    @pytest.mark.parametrize(
        "argv",
        [
            ["--samples-per-class", "0"],
            ["--samples-per-class", "some"],
            ["--iters", "5", "--epochs", "5"],
            ["--budget-minutes", "-1"],
            ["--seeds", "0"],
            ["--workers", "-1"],
        ],
    )
    def test_usage(self, run, tmp_path, argv):
        assert run(*argv, "--out", tmp_path / "out")[0] == 2
        assert not (tmp_path / "out").exists()

    def test_two_benches_in_one_folder(self, run, tmp_path):
        with FileLock(tmp_path / ".bench.lock"):
            status, _, error = run("--out", tmp_path)
        assert status == 1
        assert f"another bench is running in {tmp_path} (" in error
        with course.lock_folder(str(tmp_path)):  # lock file of the first bench
            pass

    def test_methods_are_listed_without_data(self, capsys):
        assert run_main(bench.main, "--list-methods") == 0
        assert "+guidance-offline" in capsys.readouterr().out


def test_one_run_at_a_time_on_each_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    slots = course.make_slots(None, None)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    slots = course.make_slots(3, 1)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["5", "7", "5"]
    assert Pool(slots).context.get_start_method() == "spawn"
