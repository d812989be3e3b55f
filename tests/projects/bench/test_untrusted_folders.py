"""Untrusted bench folders: files are read as data, and no program in them is executed."""

import argparse
import json

import pytest

from smallvit.bench import run as bench
from smallvit.bench.methods import TEACHER, parse_method
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.plan_file import to_json
from smallvit.bench.scheduler import Outcome

SETTINGS = BenchSettings("digits", 32, 16, False, "iters", 30, schedule="trapezoid")
COST = {"params": 1, "flops": 1, "images_per_second": 1.0}
DATA = {
    **{"classes": list("ab"), "image_size": 32, "same_images": False, "fingerprints": {}},
    **{"counts": {split: [5, 5] for split in ("train", "val", "test")}},
    **{"images": dict.fromkeys(("train", "val", "test"), 10)},
    **{"tested_on": "test", "selected_on": "val"},
}


@pytest.fixture
def hostile(tmp_path):
    """A bench whose plan names a Python file as a method, with Python files in its folders."""
    mark = tmp_path / "executed"
    program = tmp_path / "evil.py"
    program.write_text(f"open({str(mark)!r}, 'w').close()\nmodel = dict(type='ImageClassifier')")
    out = tmp_path / "bench"
    runs = [Run(name, None, 0, 30, 1) for name in (TEACHER, "vit", str(program))]
    for one in runs:
        folder = tmp_path / one.folder(str(out))
        folder.mkdir(parents=True)
        folder.joinpath("result.json").write_text(
            json.dumps(dict(accuracy=1.0, val_accuracy=1.0, train_seconds=1.0, iters=30, params=1))
        )
        folder.joinpath("config.py").write_text(program.read_text())
        folder.joinpath("model.pth").write_bytes(b"weights")
    out.joinpath("plan.json").write_text(to_json(SETTINGS, DATA, runs, {"speeds": {}}))
    return out, mark, str(program)


class Pool:
    """Records jobs without running them."""

    def __init__(self):
        self.jobs = []

    def run(self, jobs, watcher):
        self.jobs += jobs
        known = {
            **{"look": DATA, "measure": {"note": "", "methods": {"vit": COST}}},
            "fit": {"vit": {"width": 4, "size": 1.09e6}, "dhvt": {"width": 0, "size": 0.26e6}},
        }
        return {job.name: Outcome(known.get(job.function)) for job in jobs}


def go_on(out, *names, **changes):
    arguments = argparse.Namespace(
        **dict(data="digits", out=str(out), methods=names, seeds=1, samples_per_class=["all"]),
        **dict(iters=30, epochs=None, budget_minutes=None, image_size=32, batch_size=16),
        **dict(no_flip=True, jobs=1, threads=1, workers=0, schedule="trapezoid"),
        **dict(params=None, flops=None, as_published=True, no_lr_search=True),
        **dict(unlabeled=None, pretraining_share=0.5, val_per_class=None, void_id=None),
    )
    vars(arguments).update(changes)
    running = bench.Bench(arguments, str(out), [parse_method(name) for name in names])
    running.pool = Pool()
    running.plan()
    running.train()
    running.measure()
    return running.pool.jobs


def test_a_method_that_only_the_plan_names_is_not_run(hostile):
    out, mark, program = hostile
    jobs = go_on(out, "vit")
    assert [job.function for job in jobs] == ["look", "measure"]
    assert jobs[-1].arguments[1] == {"vit": 0}
    assert not mark.exists()
    planned = [run["method"] for run in json.loads((out / "plan.json").read_text())["runs"]]
    assert program in planned  # results of trained runs remain in the report
    assert json.loads((out / "cost.json").read_text())["methods"] == {"vit": COST}


def test_the_report_runs_nothing(hostile):
    from smallvit.bench.outputs import write_outputs

    out, mark, _ = hostile
    go_on(out, "vit")
    write_outputs(str(out))
    assert not mark.exists()


def test_the_teachers_config_is_not_taken_from_its_folder(hostile, monkeypatch):
    from smallvit.bench import worker
    from smallvit.plugins.locality_guidance import precompute

    out, mark, _ = hostile
    jobs = go_on(out, "vit+guidance-offline")
    stored = next(job for job in jobs if job.function == "store")
    trained = next(job for job in jobs if job.function == "train")
    found = []
    monkeypatch.setattr(precompute, "write_store", lambda cfg, *_: found.append(cfg))
    worker.store(*stored.arguments, report=None)
    assert found[0].model.backbone.type == "smallvit.CifarResNet"
    settings, run, classes, workers, _, trained_teacher, _ = trained.arguments
    cfg = worker.run_config(settings, run, classes, workers, trained_teacher)
    assert cfg.model.guidance.teacher.model == found[0].model
    assert not mark.exists()


def test_networks_that_miss_the_target_are_named(tmp_path, capsys):
    go_on(tmp_path, "vit", "dhvt", as_published=False, params=0.25e6)
    said = capsys.readouterr().out
    assert "vit does not reach the target of 250.00 k params: the nearest size is 1.09 M" in said
    assert "dhvt does not reach" not in said
