"""Bench report: names from folders, plans and logs are escaped in HTML."""

import re
from html import unescape

import pytest

from smallvit.bench.best import Best, Mistake
from smallvit.bench.comparisons import compare
from smallvit.bench.findings import Findings
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.report import _class_rows, _edge_notes, make_report
from smallvit.bench.results import summarize
from smallvit.bench.table import make_table

TAG = "<script>alert('x')</script>"


@pytest.fixture
def page(tmp_path):
    runs = [Run(f"{TAG}method{n}", 5, seed, 30, 1) for n in range(2) for seed in range(2)]
    results = {
        run: dict(
            **dict(accuracy=90.0 + run.seed, val_accuracy=1.0, train_seconds=1.0, iters=30),
            **dict(params=1, metrics={f"{TAG}metric": 40.0 + run.seed, "small": -1.0}),
        )
        for run in runs
    }
    summaries = summarize(results)
    data = {
        **{"classes": [f"{TAG}class"], "same_images": False},
        **{"counts": {f"{TAG}split": [5], "test": [5]}},
        **{"tested_on": f"{TAG}test", "selected_on": f"{TAG}val"},
    }
    plan = {
        **{"data": data, "runs": runs, "command": [f"{TAG}command"], "jobs": f"{TAG}jobs"},
        "settings": BenchSettings(f"{TAG}folder", 32, 16, False, "iters", 30),
    }
    failures = {Run(f"{TAG}failed", 5, 0, 30, 1): dict(reason=f"{TAG}reason", log=f"{TAG}log")}
    costs = {"note": f"{TAG}note", "methods": {}}
    table = make_table(summaries, [5], {})
    record = {
        **{"device": f"{TAG}device", "python": f"{TAG}python", "packages": {f"{TAG}p": f"{TAG}v"}},
        "git": {"smallvit": {"commit": f"{TAG}commit", "changed": True}},
    }
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG")
    found = Findings(
        *(plan, results, failures, summaries, [5], costs, table, record, {}),
        comparisons=compare(summaries, [5], {}),
        intervals={},
        trends={},
        guessing=100.0,
    )
    best = Best(
        title=f"{TAG}best",
        run=runs[0],
        commands=[f"{TAG}predict"],
        names=[f"{TAG}column"],
        classes=[(f"{TAG}kind", 5, "1.0", f"{TAG}taken")],
        matrix=[(f"{TAG}row", 1)],
        mistakes=[Mistake(f"{TAG}image", f"{TAG}right", f"{TAG}wrong", 0.9, "aGk=")],
    )
    return make_report(found, [str(picture)] * 4, best)


def test_external_text_is_escaped(page):
    assert page.count("<script>") == page.count("</script>") == 1
    shown = set(re.findall(re.escape(TAG) + r"(\w+)", unescape(page)))
    assert shown == {
        *(
            "method0",
            "method1",
            "metric",
            "class",
            "split",
            "test",
            "val",
            "command",
            "jobs",
            "folder",
        ),
        *("best", "kind", "taken", "row", "column", "image", "right", "wrong", "predict"),
        *("failed", "reason", "log", "note", "device", "python", "p", "v", "commit"),
    }


def test_the_page_is_complete(page):
    for text in (
        "Trained on 5 per class, <b>",
        "is best: 90.50 ± 0.71%; not significantly different: ",
        "<td>not significant</td>",
        "<th>difference</th>",
        "color: #222; max-width",  # in <style>, and below in <script>: not escaped
        'document.querySelectorAll("table.sortable")',
        "(row) => row.cells[column]",
    ):
        assert text in page
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>")
    assert page.count("<figure>") == 5


@pytest.mark.parametrize(
    ("task", "several", "totals"),
    [
        ("classification", False, [("all", 7)]),
        ("classification", True, [("images in total", 5)]),
        ("segmentation", False, [("images in total", 5)]),
        ("detection", False, [("all", 7), ("images in total", 5)]),
    ],
)
def test_classes_that_share_images_have_no_sum(task, several, totals):
    data = dict(classes=["ant", "bee"], counts={"train": [3, 4]}, several=several)
    classes = [("ant", 3), ("bee", 4)]
    stored_before = list(_class_rows(data, ["train"], task))
    assert stored_before == classes + [row for row in totals if row[0] == "all"]
    assert list(_class_rows(data | {"images": {"train": 5}}, ["train"], task)) == classes + totals


def test_learning_rates_at_the_edge_of_the_tried_ones():
    chosen = [
        dict(method=name, samples=5, rate=rate, trials={"1": 1.0, "0.3": 2.0, "3": 3.0})
        for name, rate in (("vit", 3.0), ("dhvt", 1.0), ("resnet", 0.3))
    ]
    alone = dict(method="swin", samples=None, rate=3.0, trials={"3": 1.0})  # the others failed
    assert list(_edge_notes([*chosen, alone])) == [
        "The highest of the tried learning rates was best for: vit, 5 per class. A higher one may "
        "be better.",
        "The lowest of the tried learning rates was best for: resnet, 5 per class. A lower one may "
        "be better.",
    ]
