"""Results as a table for the console, Markdown and CSV."""

from __future__ import annotations

import csv
import html
import io
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from smallvit.bench.methods import TEACHER
from smallvit.bench.plan import Run, samples_label
from smallvit.bench.progress import duration
from smallvit.bench.results import Summary, ranking


@dataclass(frozen=True)
class Cell:
    """Cell of a table.

    Args:
        text (str): Displayed text.
        order (float | str): Sort key.
        best (bool): Whether it is the best of its column. Defaults to False.
    """

    text: str
    order: float | str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Table of results.

    Args:
        header (list[str]): Titles of the columns.
        rows (list[list[Cell]]): Rows, best first.
    """

    header: list[str]
    rows: list[list[Cell]]


def make_table(
    summaries: Mapping[tuple[str, int | None], Summary],
    samples: Sequence[int | None],
    costs: Mapping[str, Mapping[str, float]],
    unavailable: Iterable[str] = (),
    measure: str = "accuracy",
) -> Table:
    """Create a table with methods as rows, best first, and subsets and costs as columns.

    Args:
        summaries (Mapping): Summaries by method and images per class.
        samples (Sequence[int | None]): Images per class of each subset, None for all.
        costs (Mapping): ``params``, ``flops`` and ``images_per_second`` of each method.
        unavailable (Iterable[str]): Methods whose weights are unavailable. Defaults to none.
        measure (str): Name of the metric. Defaults to "accuracy".

    Returns:
        Table: Formatted cells.
    """
    columns = [f"{measure}, {samples_label(count)}" for count in samples]
    header = ["method", *columns, "parameters", "FLOPs", "images/s"]
    header += ["s/step", "MiB", "training", "seeds"]
    leaders = {count: _leader(summaries, count) for count in samples}
    rows = []
    for name in ranking(summaries, samples):
        found = [summaries.get((name, count)) for count in samples]
        row = [Cell(name, name)]
        for count, summary in zip(samples, found, strict=True):
            if summary is None:
                row.append(Cell("failed or missing", -1.0))
            else:
                row.append(Cell(summary.text(), summary.mean, summary.mean == leaders[count]))
        row += _cost_cells(costs.get(name))
        there = [summary for summary in found if summary is not None]
        seconds = sum(summary.seconds for summary in there) / len(there)
        seeds = [len(summary.accuracies) for summary in there]
        numbers = str(min(seeds)) if min(seeds) == max(seeds) else f"{min(seeds)}-{max(seeds)}"
        rows.append([*row, Cell(duration(seconds), seconds), Cell(numbers, min(seeds))])
    names = {name for name, _ in summaries}
    for name in unavailable:
        if name not in names:
            row = [Cell(name, name), *[Cell("not measured", -1.0)] * len(samples)]
            rows.append([*row, *_cost_cells(costs.get(name)), Cell("-", -1.0), Cell("0", 0)])
    return Table(header, rows)


def _leader(summaries: Mapping[tuple[str, int | None], Summary], count: int | None) -> float:
    return max((each.mean for (_, at), each in summaries.items() if at == count), default=0.0)


def _cost_cells(cost: Mapping[str, float] | None) -> list[Cell]:
    if cost is None:
        return [Cell("?", -1.0)] * 5
    params, flops, speed = (cost[key] for key in ("params", "flops", "images_per_second"))
    step, memory = cost.get("step_seconds"), cost.get("memory_mib")
    return [
        *(Cell(short(params), params), Cell(short(flops), flops), Cell(f"{speed:.0f}", speed)),
        Cell("?", -1.0) if step is None else Cell(f"{step:.3g}", step),
        Cell("?", -1.0) if memory is None else Cell(f"{memory:.0f}", memory),
    ]


def short(number: float) -> str:
    """Format a large number with a unit prefix and two decimals.

    Args:
        number (float): Number, such as a parameter count.

    Returns:
        str: Text such as "207.31 k".
    """
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.2f} {letter}"
    return str(round(number))


def to_markdown(table: Table) -> str:
    """Format a table as Markdown.

    Args:
        table (Table): Table to format.

    Returns:
        str: Markdown, with the best value of each column in bold.
    """
    lines = [table.header, ["---"] + ["---:"] * (len(table.header) - 1)]
    for row in table.rows:
        texts = [_in_markdown(cell.text) for cell in row]
        lines.append(
            [f"**{text}**" if c.best else text for c, text in zip(row, texts, strict=True)]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _in_markdown(text: str) -> str:
    """Escape text so that it cannot contain HTML tags or break cells and rows."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def to_text(table: Table) -> str:
    """Format a table for a terminal.

    Args:
        table (Table): Table to format.

    Returns:
        str: Aligned lines.
    """
    lines = [table.header, *([cell.text for cell in row] for row in table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def other_metrics(results: Mapping[Run, dict]) -> list[str]:
    """List the metrics of the test beside the one by which methods are compared.

    Args:
        results (Mapping[Run, dict]): Result of each finished run.

    Returns:
        list[str]: Keys, such as ``coco/segm_mAP``, in the order of the evaluator; none for
        classification, which has one metric.
    """
    found = dict.fromkeys(name for each in results.values() for name in each.get("metrics", {}))
    return list(found) if len(found) > 1 else []


def metric_rows(
    results: Mapping[Run, dict], names: Sequence[str], scale: float
) -> Iterator[list[str]]:
    """Compute the means of all metrics over the seeds.

    Args:
        results (Mapping[Run, dict]): Result of each finished run.
        names (Sequence[str]): Keys of the metrics.
        scale (float): Factor that converts them to percent.

    Yields:
        list[str]: Method and formatted means; "-" where no seed has the metric.
    """
    groups: dict[str, list[dict]] = {}
    for run, result in results.items():
        groups.setdefault(run.method, []).append(result.get("metrics", {}))
    for method, several in groups.items():
        row = [method]
        for name in names:
            # COCO's evaluation returns -1 for sizes without objects.
            values = [each[name] for each in several if each.get(name, -1.0) >= 0]
            row.append(f"{scale * statistics.fmean(values):.2f}" if values else "-")
        yield row


def to_csv(results: Mapping[Run, dict], costs: Mapping[str, Mapping[str, float]]) -> str:
    """Write every run as a line of a spreadsheet, teachers included.

    Args:
        results (Mapping[Run, dict]): Result of each finished run.
        costs (Mapping): ``params``, ``flops`` and ``images_per_second`` of each method.

    Returns:
        str: CSV.
    """
    fields = ["method", "samples_per_class", "seed", "test_accuracy", "val_accuracy", "iters"]
    fields += ["train_seconds", "params", "flops", "images_per_second", "step_seconds"]
    fields += ["memory_mib", "rate", "guidance_weight", "pretraining_iters", "pretraining_seconds"]
    names = other_metrics(results)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*fields, *names])
    for run, result in results.items():
        cost, before = costs.get(run.method, {}), result.get("pretraining") or {}
        writer.writerow(
            [
                run.method,
                "all" if run.samples is None else run.samples,
                run.seed,
                round(result["accuracy"], 4),
                round(result["val_accuracy"], 4),
                result["iters"],
                round(result["train_seconds"], 3),
                result["params"] if run.method == TEACHER else cost.get("params"),
                cost.get("flops"),
                round(cost["images_per_second"], 1) if cost else None,
                cost.get("step_seconds"),
                cost.get("memory_mib"),
                run.rate,
                run.weight or None,
                before.get("iters"),
                round(before["seconds"], 3) if before else None,
                *(result.get("metrics", {}).get(name) for name in names),
            ]
        )
    return file.getvalue()
