"""Statements of the report, on benches whose results are written by hand."""

import json
import math
import re
from html import unescape

import pytest

from smallvit.bench import chance
from smallvit.bench.findings import collect
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.plan_file import FILE, to_json
from smallvit.bench.report import make_report

DATA = {
    **{"classes": ["ant", "bee"], "same_images": False, "fingerprints": {}},
    **{"selected_on": "val/", "tested_on": "test/"},
    **{"counts": {"train": [50, 50], "val": [20, 20], "test": [50, 50]}},
}


def asked(budget="iters", amount=1000, **changes):
    known = dict(data="images", image_size=32, batch_size=16, flip=True, schedule="trapezoid")
    return BenchSettings(**(known | changes), budget=budget, amount=amount)


def result(run, accuracy=80.0, slope=0.0):
    steps = [run.val_interval * number for number in range(1, run.evals + 1)]
    curve = [[at, 50 + slope * math.log2(at / steps[0])] for at in steps]
    numbers = dict(accuracy=accuracy, val_accuracy=accuracy, train_seconds=1.0, params=9)
    return numbers | dict(iters=run.iters, curve=curve)


def write_bench(out, settings, results, data=DATA, **extra):
    """Write a bench with these results; runs without one have not finished."""
    out.mkdir(exist_ok=True)
    (out / FILE).write_text(to_json(settings, data, list(results), extra))
    for run, content in results.items():
        if content is not None:
            folder = out / run.folder("")
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(content))
    return str(out)


def page_of(*bench, **more):
    """Text of the report, without tags."""
    page = make_report(collect(write_bench(*bench, **more)), [str(bench[0] / "no.png")] * 4)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def two_methods(slope=5.0, iters=1000, evals=10, seeds=2):
    return {
        run: result(run, accuracy=accuracy + run.seed, slope=slope)
        for name, accuracy in (("vit", 80.0), ("dhvt", 70.0))
        for run in (Run(name, None, seed, iters, evals) for seed in range(seeds))
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (asked(), "(--until-flat continues these runs)"),
        (asked("minutes", 30), "(use a larger --budget-minutes and another --out)"),
        (asked(schedule="cosine"), "(use --schedule trapezoid and another --out)"),
    ],
)
def test_the_way_to_train_longer_is_one_that_the_bench_accepts(settings, said, tmp_path):
    page = page_of(tmp_path, settings, two_methods())
    assert f"Still rising , so longer training may change the ranking: vit, dhvt {said}" in page
    assert ("is overestimated here" in page) == (settings.schedule == "cosine")


def test_too_few_validations_are_not_taken_for_a_flat_curve(tmp_path):
    page = page_of(tmp_path, asked(amount=20), two_methods(iters=20, evals=1))
    assert "Too few validations to see whether these still rise: vit, dhvt." in page
    assert "Still rising" not in page


def test_one_seed_is_not_reported_as_no_difference(tmp_path):
    page = page_of(tmp_path, asked(), two_methods(seeds=1))
    assert "one seed, so it is unknown whether it differs from dhvt." in page
    assert "not significantly different" not in page


@pytest.mark.parametrize("why", ["no statsmodels", "several labels", "another task"])
def test_convergence_is_shown_without_an_interval_over_images(why, tmp_path, monkeypatch):
    data, settings = DATA, asked()
    if why == "no statsmodels":
        monkeypatch.setattr(chance, "is_available", lambda: False)
    elif why == "several labels":
        data = DATA | {"several": True}
    else:
        settings = asked(task="detection")
    page = page_of(tmp_path, settings, two_methods(), data=data)
    assert "all images vit 80.50 ± 0.71 - 1000 still rising: +5.0 points" in page


class TestLengths:
    def test_equal(self, tmp_path):
        page = page_of(tmp_path, asked(), two_methods())
        assert "Each run had the same number of steps; slower methods took more time." in page

    def test_with_pretraining(self, tmp_path):
        runs = Run("vit", None, 0, 1000, 10), Run("vit+masked", None, 0, 500, 10, pretraining=200)
        page = page_of(tmp_path, asked(), {run: result(run) for run in runs})
        assert "a run with pretraining had fewer steps, in exchange" in page
        assert "were continued" not in page

    @pytest.mark.parametrize("budget", ["iters", "epochs"])
    def test_continued(self, budget, tmp_path):
        runs = Run("vit", None, 0, 1000, 10).prolonged(), Run("dhvt", None, 0, 1000, 10)
        page = page_of(tmp_path, asked(budget), {run: result(run) for run in runs})
        assert "were continued, so the number of steps differs" in page
        assert "Each run had the same number" not in page


@pytest.mark.parametrize(
    ("search", "chosen", "said"),
    [
        (False, [], "light augmentation, the recipe's learning rate)"),
        (True, [], "the recipe's learning rate, as runs of fewer than 200 steps are too short"),
        (True, ["vit"], "validation images where trials are listed, else the recipe's)"),
        (True, ["vit", "dhvt"], "the best of three learning rates on the validation images)"),
    ],
)
def test_learning_rates_are_described_as_they_were_chosen(search, chosen, said, tmp_path):
    kept = [dict(method=name, samples=None, rate=1.0, seconds=1.0, trials={}) for name in chosen]
    assert said in page_of(tmp_path, asked(search=search), two_methods(), chosen=kept)


class TestSizes:
    settings = asked(sizes="params", target=100.0)

    def page(self, tmp_path, measured):
        costs = {name: dict(params=100, flops=9, images_per_second=9.0) for name in measured}
        (tmp_path / "cost.json").write_text(json.dumps(dict(note="", methods=costs)))
        return page_of(tmp_path, self.settings, two_methods())

    def test_all(self, tmp_path):
        page = self.page(tmp_path, ["vit", "dhvt"])
        assert "All networks have 100 parameters, within 10%. Trained" in page

    def test_a_network_that_was_not_measured_is_named(self, tmp_path):
        page = self.page(tmp_path, ["vit"])
        assert "All networks have 100 parameters, within 10%. Not measured: dhvt." in page


def test_unavailable_weights_are_explained_for_several_labels(tmp_path):
    data, reason = DATA | {"several": True}, {"timm:a:pretrained": "no network"}
    page = page_of(tmp_path, asked(), two_methods(), data=data, unavailable=reason)
    assert "timm:a:pretrained was not measured because its weights are unavailable: no net" in page
    assert "mAP is the mean average precision over the classes" in page


@pytest.mark.parametrize("budget", ["iters", "minutes"])
def test_trials_count_into_a_budget_in_minutes_only(budget, tmp_path):
    kept = [dict(method="vit", samples=None, rate=1.0, seconds=1.0, trials={"1": 5.0})]
    page = page_of(tmp_path, asked(budget, search=True), two_methods(), chosen=kept)
    assert ("Trials are part of the budget" in page) == (budget == "minutes")


def test_a_split_without_objects_is_reported(tmp_path):
    data = DATA | {"counts": DATA["counts"] | {"test": [0, 0]}}
    page = page_of(tmp_path, asked(task="detection"), two_methods(), data=data)
    assert "The metric for detection is box AP" in page
    assert "deviation of the test box AP in percent" in page
    assert "McNemar" not in page
    assert "significant if its p-value is below 0.05" in page


def test_an_unfinished_continuation_is_listed_with_the_steps_of_its_result(tmp_path):
    results = {run.prolonged(): each for run, each in two_methods().items()}
    page = page_of(tmp_path, asked(), results)
    assert len(re.findall(r"vit 80\.50 ± 0\.71 \S+ to \S+ 1000 still rising", page)) == 1
    assert "Unfinished: 0 of 4 runs are done." in page


@pytest.mark.parametrize("versions", [("2.13.0", "2.14.1"), ("2.14.1", "2.14.1")])
def test_runs_with_different_software_are_reported(tmp_path, versions):
    out, runs = tmp_path / "out", two_methods(seeds=1)
    write_bench(out, asked(), runs)
    for run, version in zip(runs, versions, strict=True):
        record = dict(device="CPU", packages={"torch": version, "timm": "1.0"}, git={})
        (out / run.folder("") / "run.json").write_text(json.dumps(record))
    page = make_report(collect(str(out)), [str(out / "no.png")] * 4)
    said = "different software or devices (torch 2.13.0, 2.14.1)"
    assert (said in page) == (len(set(versions)) == 2)
    assert page.count("different software") <= 1
