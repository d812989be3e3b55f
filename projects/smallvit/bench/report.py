"""One HTML file that says what was compared, how, and what came out."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Sequence
from html import escape

from smallvit.bench.findings import Findings
from smallvit.bench.methods import TEACHER
from smallvit.bench.page import SCRIPT, STYLE
from smallvit.bench.plan import TEACHER_SHARE, Settings, samples_label
from smallvit.bench.results import is_guided, ranking, welch
from smallvit.bench.table import Table

CAPTIONS = (
    "Accuracy against training images; bars are one standard deviation over the seeds.",
    "Accuracy against cost: multiply-adds of one image, and measured images a second.",
    "Validation accuracy, and loss (faint), of every run; one colour a seed.",
)


def make_report(found: Findings, pictures: Sequence[str]) -> str:
    """Write the report of a bench.

    Args:
        found (Findings): What the bench found.
        pictures (Sequence[str]): Paths of the three plots; they become part of the file.

    Returns:
        str: HTML that loads nothing from elsewhere.
    """
    parts = [
        "<h1>Which method helps on these images?</h1>",
        _answer(found),
        "<h2>Results</h2>",
        "<p>Mean and standard deviation of the test accuracy in percent over the seeds; the best "
        "of each column is bold. Click on a title to sort.</p>",
        _table(found.table),
        f"<p class=note>{escape(_cost_note(found))}</p>",
        *(_figure(*pair) for pair in zip(pictures, CAPTIONS, strict=True)),
        "<h2>Which differences count?</h2>",
        _differences(found),
        "<h2>What to keep in mind</h2>",
        _list(caveats(found)),
        _failures(found),
        "<h2>Data</h2>",
        _data(found.plan["data"]),
        "<h2>Settings</h2>",
        _settings(found),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>smallvit bench</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _answer(found: Findings) -> str:
    lines = []
    for count in found.samples:
        names = _ranked(found, count)
        if not names:
            continue
        best = found.summaries[names[0], count]
        line = (
            f"Trained on {samples_label(count)}, <b>{escape(names[0])}</b> is best: {best.text()}%"
        )
        ties = [
            other
            for other in names[1:]
            if welch(best.accuracies, found.summaries[other, count].accuracies).verdict
            != "beyond noise"
        ]
        if ties:
            line += f"; not told apart from it: {escape(', '.join(ties))}"
        lines.append(f"<li>{line}.</li>")
    return f"<ul>{''.join(lines)}</ul>"


def _ranked(found: Findings, count: int | None) -> list[str]:
    return ranking({key: each for key, each in found.summaries.items() if key[1] == count}, [count])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in table.header)
    rows = []
    for row in table.rows:
        cells = "".join(
            f'<td data-order="{escape(str(cell.order))}"{" class=best" if cell.best else ""}>'
            f"{escape(cell.text)}</td>"
            for cell in row
        )
        rows.append(f"<tr>{cells}</tr>")
    body = "\n".join(rows)
    return (
        f"<table class=sortable><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def _cost_note(found: Findings) -> str:
    note = (
        "One multiply-add is one FLOP. Parameters, FLOPs and images/s are those of classification"
        f" ({found.costs['note']}). Training is the mean wall time of a run"
    )
    guided = [each for (name, _), each in found.summaries.items() if is_guided(name)]
    if guided:
        seconds = statistics.fmean(each.teacher_seconds for each in guided)
        note += (
            f", for guided methods with that of its teacher ({seconds:.0f} s in the mean), "
            "although methods of one seed share a teacher"
        )
    return note + "."


def _figure(path: str, caption: str) -> str:
    with open(path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _differences(found: Findings) -> str:
    rows = []
    for count in found.samples:
        best, *others = _ranked(found, count) or [None]
        for other in others:
            one, two = (found.summaries[name, count].accuracies for name in (best, other))
            difference = welch(one, two)
            interval = "-"
            if difference.low is not None:
                interval = f"{difference.low:+.2f} to {difference.high:+.2f}"
            cells = [samples_label(count), best, other, f"{difference.mean:+.2f}", interval]
            cells.append(difference.verdict)
            rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    titles = ["trained on", "best", "other", "difference", "95% interval", "verdict"]
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        "<p>Best method minus other method, in points, with Welch's 95% interval over the seeds. "
        "An interval that holds zero means that the seeds differ as much as the methods. Methods "
        "share the subset of a seed, which the interval does not use: it is rather too wide. It is "
        "not corrected for the number of comparisons, which makes it too narrow.</p>"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def caveats(found: Findings) -> list[str]:
    """List what limits the results.

    Args:
        found (Findings): What the bench found.

    Returns:
        list[str]: Sentences.
    """
    data, settings = found.plan["data"], found.plan["settings"]
    tested = sum(data["counts"]["val" if data["same_images"] else "test"])
    seeds = {len(each.accuracies) for each in found.summaries.values()}
    said = [f"One image of the {tested} that test is {100 / tested:.2f} points."]
    if min(seeds) < 2:
        said.append("One seed: nothing here can be told from chance. Use --seeds 3 or more.")
    elif min(seeds) < 5:
        said.append(
            f"{min(seeds)} seeds: the standard deviations themselves are rough, so the intervals "
            "are wide."
        )
    if data["same_images"]:
        said.append(
            "There are no test images of their own: the images that chose the best state of each "
            "run also test it, so that all accuracies are a little too high. Make a folder test/."
        )
    said.append(
        "A seed decides the subset, the initial weights and the order of the images. All methods "
        "see the same subset for the same seed. The validation images, which choose the state "
        "that is tested, are all of them whatever the subset."
    )
    said.append(
        "One recipe (AdamW, cosine, light augmentation) for all: a method may gain from a recipe "
        "of its own. Methods that are ahead here are worth tuning; those that are behind by "
        "little are not refuted."
    )
    if settings.budget == "minutes":
        said.append(
            "Each run had the same wall time, and methods that are slower to train made fewer "
            "steps in it. On another machine the order may differ."
        )
    else:
        said.append("Each run made the same steps; slower methods had more time for them.")
    if any(run.method == TEACHER for run in found.plan["runs"]):
        said.append(_teacher_note(settings))
    return said


def _teacher_note(settings: Settings) -> str:
    if settings.budget == "minutes":
        return (
            f"A guided run gave {TEACHER_SHARE:.0%} of its time to its teacher, a ResNet-20 "
            "trained on the same subset."
        )
    return (
        "The teacher of a guided run, a ResNet-20 trained on the same subset, made as many steps "
        "as the student, on top of them."
    )


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in sentences) + "</ul>"


def _failures(found: Findings) -> str:
    if not found.failures:
        return ""
    rows = "".join(
        f"<tr><td>{escape(run.name)}</td><td>{escape(failure['reason'])}</td>"
        f"<td><code>{escape(failure['log'])}</code></td></tr>"
        for run, failure in found.failures.items()
    )
    return (
        "<h2>Failed runs</h2>\n<p>The same command tries them again.</p>\n<table><thead><tr>"
        f"<th>run</th><th>reason</th><th>log</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _data(data: dict) -> str:
    splits = list(data["counts"])
    if data["same_images"]:
        splits = [split for split in splits if split != "test"]
    head = "<th>class</th>" + "".join(f"<th>{split}</th>" for split in splits)
    rows = [
        (name, *(str(data["counts"][split][label]) for split in splits))
        for label, name in enumerate(data["classes"])
    ]
    rows.append(("all", *(str(sum(data["counts"][split])) for split in splits)))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<p>The best state of each run is chosen on {escape(data['selected_on'])} and tested on "
        f"{escape(data['tested_on'])}.</p><details><summary>{len(data['classes'])} classes"
        f"</summary><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _commit(state: dict | None) -> str:
    if state is None:
        return "not in a repository"
    return state["commit"] + (", with changes" if state["changed"] else "")


def _settings(found: Findings) -> str:
    settings, record = found.plan["settings"], found.record
    steps = {f"{run.method}, {samples_label(run.samples)}": run.iters for run in found.plan["runs"]}
    listed = [f"{name}: {iters}" for name, iters in steps.items()]
    alike = len(set(steps.values())) == 1
    rows = {
        "data": settings.data,
        "image size": f"{settings.image_size}x{settings.image_size}",
        "budget": f"{settings.amount:g} {settings.budget}",
        "batch size": str(settings.batch_size),
        "mirrored images": "yes" if settings.flip else "no",
        "runs at a time": str(found.plan.get("jobs")),
        "steps": str(next(iter(steps.values()))) if alike else "; ".join(listed),
        "device": str(record.get("device", "?")),
        "versions": ", ".join(
            [f"Python {record.get('python', '?')}"]
            + [f"{name} {version}" for name, version in record.get("packages", {}).items()]
        ),
        "commit of smallvit": _commit((record.get("git") or {}).get("smallvit")),
    }
    body = "".join(f"<tr><th>{key}</th><td>{escape(text)}</td></tr>" for key, text in rows.items())
    commands = "\n".join(found.plan.get("command", []))
    return f"<pre>{escape(commands)}</pre>\n<table class=plain>{body}</table>"
