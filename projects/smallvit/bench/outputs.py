"""Output files of a bench: table, spreadsheet, plots, report."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence

from smallvit.analysis.logs import ScalarCurve, read_run
from smallvit.bench import plots
from smallvit.bench.best import find_best
from smallvit.bench.findings import collect
from smallvit.bench.methods import TEACHER
from smallvit.bench.plan import Run
from smallvit.bench.report import make_report
from smallvit.bench.results import ranking
from smallvit.bench.table import to_csv, to_markdown, to_text
from smallvit.bench.verdict import missing_note, size_note
from smallvit.errors import UserError

SAMPLES_PLOT, COST_PLOT, CURVES_PLOT = (
    "accuracy_vs_samples.png",
    "accuracy_vs_cost.png",
    "curves.png",
)
TOGETHER_PLOT = "learning_curves.png"


def write_outputs(out: str) -> int:
    """Write table, spreadsheet, plots and report, and print the table.

    Args:
        out (str): Folder of the bench.

    Returns:
        int: 1 if a run failed or has no result, else 0.
    """
    from smallvit.utils.files import write_whole

    found = collect(out)
    counts = found.plan["data"]["counts"]["train"]
    costs = found.costs["methods"]
    per_class = sum(counts) / len(counts)
    path = osp.join(out, SAMPLES_PLOT)
    plots.plot_samples(found.summaries, found.samples, per_class, path, metric=found.metric)
    if costs:
        path = osp.join(out, COST_PLOT)
        plots.plot_cost(found.summaries, found.samples, costs, path, metric=found.metric)
    names = ranking(found.summaries, found.samples)
    kept = {run: result.get("curve", []) for run, result in found.results.items()}
    logged = read_curves(out, found.results)
    shown = names, found.samples
    plots.plot_curves(logged, kept, *shown, osp.join(out, CURVES_PLOT), metric=found.metric)
    plots.plot_together(kept, *shown, osp.join(out, TOGETHER_PLOT), metric=found.metric)
    write_whole(osp.join(out, "table.md"), to_markdown(found.table))
    write_whole(osp.join(out, "results.csv"), to_csv(found.results, costs))
    files = (SAMPLES_PLOT, COST_PLOT, TOGETHER_PLOT, CURVES_PLOT)
    pictures = [osp.join(out, name) for name in files]
    report = make_report(found, pictures, find_best(found, out))
    write_whole(osp.join(out, "report.html"), report)
    print(f"\n{to_text(found.table)}\n")
    for run, failure in found.failures.items():
        print(f"FAILED: {run.name}: {failure['reason']} (log: {osp.join(out, failure['log'])})")
    print(size_note(found)[1])
    if missing_note(found):
        print(missing_note(found))
    print(f"report: {osp.join(out, 'report.html')}")
    return int(bool(found.failures))


def read_curves(out: str, runs: Sequence[Run]) -> dict[Run, dict[str, ScalarCurve]]:
    """Read the logged curves of the runs.

    Args:
        out (str): Folder of the bench.
        runs (Sequence[Run]): Runs to read; teachers are skipped.

    Returns:
        dict[Run, dict[str, ScalarCurve]]: Curves by run and metric.
    """
    curves = {}
    for run in runs:
        if run.method == TEACHER:
            continue
        try:
            curves[run] = read_run(run.folder(out))
        except UserError as error:
            print(f"no curves in the report for {run.name}: {error}")
    return curves
