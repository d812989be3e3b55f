"""Bench results: means, standard deviations, intervals and tables, compared with values by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from malformed import MALFORMED_FILES, variants, write_malformed
from smallvit.bench.methods import TEACHER
from smallvit.bench.plan import Run
from smallvit.bench.results import Summary, keep_teacher, ranking, read_results, summarize
from smallvit.bench.stored import (
    check_costs,
    check_failure,
    check_record,
    check_result,
    check_seconds,
    read_or_tell,
)
from smallvit.bench.table import (
    make_table,
    metric_rows,
    other_metrics,
    to_csv,
    to_markdown,
    to_text,
)
from smallvit.bench.training import _finite
from smallvit.errors import UserError

COSTS = {
    "vit": {
        **dict(params=207306, flops=15.33e6, images_per_second=2035.6),
        **dict(step_seconds=0.12, memory_mib=64.3),
    },
    "vit+guidance": dict(params=207306, flops=15.33e6, images_per_second=2035.6),
}


def result(accuracy, seconds=10.0, **more):
    return (
        dict(accuracy=accuracy, val_accuracy=50.0, train_seconds=seconds, iters=9, params=5) | more
    )


def results():
    found = {
        Run(TEACHER, 10, seed, 9, 1): result(99.0, 4.0, store_seconds=1.0) for seed in range(3)
    }
    for name, accuracies in {"vit": (90, 92, 97), "vit+guidance": (94, 95, 96)}.items():
        for seed, accuracy in enumerate(accuracies):
            found[Run(name, 10, seed, 9, 1)] = result(accuracy, 10.0 + seed)
    found[Run("vit", None, 0, 9, 1)] = result(98.0, 20.0)
    return found


def test_mean_and_deviation_over_the_seeds():
    summaries = summarize(results())
    # (90 + 92 + 97) / 3 and sqrt((9 + 1 + 16) / 2)
    assert summaries["vit", 10].mean == 93
    assert summaries["vit", 10].std == pytest.approx(13**0.5)
    assert summaries["vit", 10].text() == "93.00 ± 3.61"
    assert summaries["vit", None].text() == "98.00"
    assert not any(name == TEACHER for name, _ in summaries)


def test_training_time_counts_the_teacher():
    summaries = summarize(results())
    assert summaries["vit", 10].seconds == 11
    assert (
        summaries["vit+guidance", 10].seconds,
        summaries["vit+guidance", 10].teacher_seconds,
    ) == (
        15,
        4,
    )
    offline = {
        Run("vit+guidance-offline", 10, 0, 9, 1): result(90.0),
        Run(TEACHER, 10, 0, 9, 1): result(99.0, 4.0, store_seconds=1.0),
    }
    assert summarize(offline)["vit+guidance-offline", 10].seconds == 15


def test_the_best_comes_first_and_the_incomplete_last():
    summaries = {
        ("a", 10): Summary({0: 50.0}, 1),
        ("a", None): Summary({0: 90.0}, 1),
        ("b", 10): Summary({0: 80.0}, 1),
        ("b", None): Summary({0: 70.0}, 1),
        ("c", None): Summary({0: 99.0}, 1),
    }
    assert ranking(summaries, [10, None]) == ["b", "a", "c"]


class TestTable:
    table = make_table(summarize(results()), [10, None], COSTS)

    def test_rows(self):
        texts = [[cell.text for cell in row] for row in self.table.rows]
        assert self.table.header[:3] == ["method", "accuracy, 10 per class", "accuracy, all images"]
        assert texts == [
            [
                *("vit", "93.00 ± 3.61", "98.00", "207.31 k", "15.33 M", "2036"),
                *("0.12", "64", "16 s", "1-3"),
            ],
            [
                *("vit+guidance", "95.00 ± 1.00", "failed or missing"),
                *("207.31 k", "15.33 M", "2036", "?", "?", "15 s", "3"),
            ],
        ]
        assert [[cell.best for cell in row[1:3]] for row in self.table.rows] == [
            [False, True],
            [True, False],
        ]

    def test_markdown(self):
        lines = to_markdown(self.table).splitlines()
        assert len(lines) == 4
        assert lines[2].startswith("| vit | 93.00 ± 3.61 | **98.00** |")
        assert {line.count("|") for line in lines} == {11}

    @pytest.mark.parametrize(
        ("name", "shown"),
        [("my|config.py", "my\\|config.py"), ("a\n<b> & c.py", "a &lt;b&gt; &amp; c.py")],
    )
    def test_names_are_escaped_in_tables(self, name, shown):
        run = Run(name, 10, 0, 9, 1)
        table = make_table(summarize({run: result(90.0)}), [10], {})
        assert to_markdown(table).splitlines()[2].startswith(f"| {shown} | **90.00** |")

    def test_text_is_aligned(self):
        lines = to_text(self.table).splitlines()
        assert len({line.index("207.31 k") for line in lines[1:]}) == 1

    def test_csv_has_every_run(self):
        rows = list(csv.DictReader(to_csv(results(), COSTS).splitlines()))
        assert len(rows) == 10
        last = rows[-1]
        assert (last["method"], last["samples_per_class"], last["test_accuracy"]) == (
            *("vit", "all", "98.0"),
        )
        assert rows[0]["method"] == TEACHER
        assert rows[0]["flops"] == ""

    def test_other_metrics_of_a_task(self):
        runs = {
            Run("swin", None, seed, 9, 1): {
                **result(20.0),
                "metrics": {"coco/bbox_mAP": 0.2 + 0.02 * seed, "coco/bbox_mAP_l": -1.0},
            }
            for seed in range(2)
        }
        names = other_metrics(runs)
        assert list(metric_rows(runs, names, 100.0)) == [["swin", "21.00", "-"]]
        rows = list(csv.DictReader(to_csv(runs, {}).splitlines()))
        assert [row["coco/bbox_mAP"] for row in rows] == ["0.2", "0.22"]
        # One metric, or results of earlier versions, which stored none.
        assert other_metrics({Run("vit", None, 0, 9, 1): result(1.0)}) == []


def test_results_of_runs_are_read(tmp_path):
    good, bad, cut, none = (Run("vit", None, seed, 9, 1) for seed in range(4))
    for run, name, content in (
        (good, "result.json", json.dumps(result(90.0))),
        (bad, "failure.json", json.dumps({"reason": "r", "log": "l"})),
        (cut, "result.json", '{"accuracy": 9'),
    ):
        folder = tmp_path / run.folder("")
        folder.mkdir(parents=True)
        (folder / name).write_text(content)
    found, failures = read_results(str(tmp_path), [good, bad, cut, none])
    assert found == {good: result(90.0)}
    assert failures == {bad: {"reason": "r", "log": "l"}}


class TestDamage:
    """A damaged file is reported once and ignored; the other results are still used."""

    CHECKS = {
        "result.json": (check_result, result(90.0, metrics={"coco/bbox_mAP_l": -1.0})),
        "failure.json": (check_failure, dict(reason="r", log="l")),
        "stored.json": (check_seconds, dict(seconds=1.0)),
        "cost.json": (check_costs, dict(note="", methods=COSTS)),
    }

    @pytest.mark.parametrize("name", CHECKS)
    @pytest.mark.parametrize("kind", MALFORMED_FILES)
    def test_malformed(self, tmp_path, capsys, name, kind):
        write_malformed(tmp_path / name, kind)
        for _ in range(2):
            assert read_or_tell(str(tmp_path / name), self.CHECKS[name][0], "so what") is None
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"{tmp_path / name} is damaged (")
        assert line.endswith("): so what")

    @pytest.mark.parametrize("name", CHECKS)
    def test_wrong_values(self, tmp_path, name):
        check, whole = self.CHECKS[name]
        assert check(dict(whole)) == whole
        possible = ("reason=7", "log=7", "note=7", "metrics missing")
        for kind, content in variants(whole, whole):
            if kind in possible:
                continue
            (tmp_path / name).write_text(json.dumps(content))
            assert read_or_tell(str(tmp_path / name), check, kind) is None, kind

    def test_names_in_messages_are_escaped(self):
        with pytest.raises(ValueError, match=r"expected metrics\['a\\nb'\] to be a number"):
            check_result(result(90.0, metrics={"a\nb": "7"}))

    @pytest.mark.parametrize("kind", MALFORMED_FILES)
    def test_damaged_results_do_not_affect_others(self, tmp_path, kind):
        runs = [Run("vit", 10, seed, 9, 1) for seed in range(2)]
        for run in runs:
            folder = Path(run.folder(str(tmp_path)))
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(result(90.0)))
        write_malformed(folder / "result.json", kind)
        found, failures = read_results(str(tmp_path), runs)
        assert list(found) == runs[:1]
        assert not failures

    @pytest.mark.parametrize(
        "record",
        [{"packages": [1]}, {"git": 7}, {"git": {"smallvit": "x"}}, {"git": {"smallvit": {}}}],
    )
    def test_a_record_that_the_report_cannot_show(self, record):
        with pytest.raises((ValueError, KeyError)):
            check_record(record)
        assert check_record({"git": None})["git"] == {"smallvit": None}


def test_a_failed_continuation_is_a_failure(tmp_path):
    short, long = (Run("vit", None, seed, 9, 1) for seed in range(2))
    for run in (short, long):
        folder = tmp_path / run.folder("")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result(90.0)))
        (folder / "failure.json").write_text(json.dumps({"reason": "r", "log": "l"}))
    found, failures = read_results(str(tmp_path), [short.prolonged(), long])
    assert list(found) == [short.prolonged(), long]
    assert list(failures) == [short.prolonged()]  # the other was repeated since


def test_the_time_of_a_teacher_ends_where_its_students_begin():
    # From 0 to 100, then from 80 to 200 and from 160 to 400: 460 steps, 100 for the students.
    run = Run("resnet", 10, 0, 100, 1).prolonged().prolonged()
    found = {run: result(99.0, 46.0, iters=400), Run("vit+guidance", 10, 0, 100, 1): result(90.0)}
    assert summarize(found)["vit+guidance", 10].teacher_seconds == pytest.approx(10.0)
    assert summarize(found)["resnet", 10].seconds == 46.0
    found[run]["iters"] = 100  # not continued yet
    assert summarize(found)["vit+guidance", 10].teacher_seconds == 46.0


def test_a_teacher_without_weights(tmp_path):
    with pytest.raises(UserError, match=r"model\.pth does not exist, from which this run"):
        keep_teacher(str(tmp_path / "teacher.pth"))
    (tmp_path / "model.pth").write_text("1")
    keep_teacher(str(tmp_path / "teacher.pth"))
    (tmp_path / "model.pth").write_text("2")
    keep_teacher(str(tmp_path / "teacher.pth"))
    assert (tmp_path / "teacher.pth").read_text() == "1"


def test_metrics_that_json_can_store():
    tested = {"mIoU": np.float32(0.5), "IoU.car": float("nan"), "coco/bbox_mAP": 0.25, "name": "a"}
    assert _finite(tested) == {"mIoU": 0.5, "coco/bbox_mAP": 0.25}
