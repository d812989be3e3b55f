"""Results of a bench, read from its folder."""

from __future__ import annotations

import os.path as osp
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from smallvit.bench import chance
from smallvit.bench.comparisons import Comparison, compare
from smallvit.bench.flat import Trend, trends
from smallvit.bench.methods import TEACHER
from smallvit.bench.plan import Run
from smallvit.bench.plan_file import read_plan
from smallvit.bench.predictions import Predicted, read_predictions
from smallvit.bench.results import Summary, read_results, summarize
from smallvit.bench.stored import check_costs, check_record, read_or_tell
from smallvit.bench.table import Table, make_table
from smallvit.bench.tasks import CLASSIFICATION, metric_name
from smallvit.errors import UserError

COST = "cost.json"


@dataclass
class Findings:
    """Results of a bench and the statistics derived from them.

    Args:
        plan (dict): Plan as returned by :func:`smallvit.bench.plan_file.read_plan`.
        results (dict[Run, dict]): Results of the finished runs.
        failures (dict[Run, dict]): Reasons and logs of the failed runs.
        summaries (dict): Summaries by method and images per class.
        samples (list[int | None]): The subsets.
        costs (dict): Measured costs, ``methods`` and ``note``.
        table (Table): Results as a table.
        record (dict): ``run.json`` of a finished run.
        tested (dict[Run, Predicted]): Predictions of the runs that stored them, except teachers.
        comparisons (list[Comparison]): Comparisons of the best with the other methods by subset.
        intervals (dict): Wilson's interval of the test images, by method and images of each
            class; empty without statsmodels.
        trends (dict): Trends of the validation curves, by method and images per class.
        guessing (float): Accuracy of always predicting the most frequent class, in percent.
        varied (dict[str, list[str]]): Devices and versions of packages that differ between runs,
            with all their values. Defaults to none.
    """

    plan: dict[str, Any]
    results: dict[Run, dict]
    failures: dict[Run, dict]
    summaries: dict[tuple[str, int | None], Summary]
    samples: list[int | None]
    costs: dict[str, Any]
    table: Table
    record: dict[str, Any]
    tested: dict[Run, Predicted]
    comparisons: list[Comparison]
    intervals: dict[tuple[str, int | None], tuple[float, float]]
    trends: dict[tuple[str, int | None], Trend]
    guessing: float
    varied: dict[str, list[str]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """str: Abbreviation of the metric, such as ``accuracy``, ``mAP`` or ``box AP``."""
        return metric_name(self.plan["settings"].task, self.plan["data"].get("several", False))


def collect(out: str) -> Findings:
    """Read the results of a bench.

    Args:
        out (str): Folder of the bench.

    Returns:
        Findings: Results and statistics.

    Raises:
        UserError: If no run has finished.
    """
    plan = read_plan(out)
    results, failures = read_results(out, plan["runs"])
    summaries = summarize(results)
    if not summaries:
        reasons = {f"{run.name}: {failure['reason']}" for run, failure in failures.items()}
        raise UserError("\n  ".join([f"{out}: no run has finished", *sorted(reasons)]))
    samples = sorted({run.samples for run in plan["runs"]}, key=lambda n: (n is None, n))
    costs = read_or_tell(osp.join(out, COST), check_costs, "the report has no costs")
    costs = costs or {"methods": {}, "note": "not measured"}
    several = plan["data"].get("several", False)
    unavailable = plan.get("unavailable") or {}
    metric = metric_name(plan["settings"].task, several)
    table = make_table(summaries, samples, costs["methods"], unavailable, metric)
    paths = (osp.join(run.folder(out), "run.json") for run in results)
    read = [read_or_tell(path, check_record, "the report has no versions") for path in paths]
    records = [each for each in read if each is not None]
    record = records[0] if records else {}
    counts = plan["data"]["counts"]["val" if plan["data"]["same_images"] else "test"]
    classified = plan["settings"].task == CLASSIFICATION
    tested = _tested(out, results, len(counts)) if classified else {}
    return Findings(
        *(plan, results, failures, summaries, samples, costs, table, record, tested),
        comparisons=compare(summaries, samples, tested),
        intervals=_intervals(summaries, sum(counts)) if classified and not several else {},
        trends=trends({run: each for run, each in results.items() if run.method != TEACHER}),
        guessing=chance.guessing(counts) if classified and not several else 0.0,
        varied=varied(records),
    )


def varied(records: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Find the devices and versions that differ between runs.

    Args:
        records (Iterable[dict]): ``run.json`` of the runs.

    Returns:
        dict[str, list[str]]: All values of each entry that has more than one.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        git = record["git"]["smallvit"] or {}
        known = {
            **{name: record.get(name) for name in ("device", "python")},
            **{"smallvit commit": git.get("commit", "")[:9], **record["packages"]},
        }
        for name, value in known.items():
            if value:
                found[str(name)][str(value)] = None
    return {name: list(values) for name, values in found.items() if len(values) > 1}


def _tested(out: str, results: dict[Run, dict], classes: int) -> dict[Run, Predicted]:
    found = {
        run: read_predictions(run.folder(out), classes) for run in results if run.method != TEACHER
    }
    return {run: each for run, each in found.items() if each is not None}


def _intervals(summaries: dict, images: int) -> dict:
    if not chance.is_available():
        return {}
    return {key: chance.wilson(each.mean, images) for key, each in summaries.items()}
