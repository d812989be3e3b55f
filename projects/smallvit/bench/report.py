"""Report of a bench as a single HTML file."""

from __future__ import annotations

import base64
import os.path as osp
import statistics
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten

from smallvit.bench.best import Best
from smallvit.bench.findings import Findings
from smallvit.bench.page import render
from smallvit.bench.plan import RATES, TEACHER_SHARE, BenchSettings, Run, samples_label
from smallvit.bench.progress import duration
from smallvit.bench.results import is_guided
from smallvit.bench.table import metric_rows, other_metrics, short
from smallvit.bench.tasks import CLASSIFICATION, SEGMENTATION, TASKS
from smallvit.bench.verdict import answers, missing_note, notes, size_note

CAPTIONS = (
    "Test {metric}; bars are one standard deviation over the seeds.",
    "Test {metric} over cost: multiply-adds per image, and measured images per second.",
    "Validation {metric} of all methods, mean over the seeds; the learning rate decays at the end.",
    "Validation {metric} and loss (faint) of every run; one color per seed.",
)


def make_report(found: Findings, pictures: Sequence[str], best: Best | None = None) -> str:
    """Write the report of a bench.

    Args:
        found (Findings): Findings of the bench.
        pictures (Sequence[str]): Paths of the four plots; those that exist are embedded.
        best (Best, optional): Summary of the best network. Defaults to None.

    Returns:
        str: HTML without external resources.
    """
    data = found.plan["data"]
    splits = list(data["counts"])
    if data["same_images"]:
        splits = [split for split in splits if split != "test"]
    return render(
        best=best,
        size=size_note(found),
        answers=list(answers(found)),
        missing=missing_note(found),
        notes=notes(found),
        reached=list(_intervals(found)),
        trials=list(_trials(found)),
        in_minutes=found.plan["settings"].budget == "minutes",
        pretrainings=list(_pretrainings(found)),
        results=found.table,
        cost_note=_cost_note(found),
        metric=found.metric,
        classified=found.plan["settings"].task == CLASSIFICATION and not data.get("several"),
        metrics=_metrics(found),
        figures=[
            _figure(path, caption.format(metric=found.metric))
            for path, caption in zip(pictures, CAPTIONS, strict=True)
            if osp.isfile(path)
        ],
        differences=list(_differences(found)),
        caveats=caveats(found),
        failures=[(run.name, each["reason"], each["log"]) for run, each in found.failures.items()],
        data=data,
        splits=splits,
        counted=TASKS[found.plan["settings"].task].counted,
        class_rows=list(_class_rows(data, splits, found.plan["settings"].task)),
        commands=found.plan.get("command", []),
        settings=_settings(found),
    )


def _metrics(found: Findings) -> dict[str, list]:
    names = other_metrics(found.results)
    scale = TASKS[found.plan["settings"].task].scale
    return {"names": names, "rows": list(metric_rows(found.results, names, scale))}


def _cost_note(found: Findings) -> str:
    note = (
        "One multiply-add counts as one FLOP. Parameters, FLOPs and images/s refer to inference"
        f" ({found.costs['note']}). Training is the mean wall time of a run"
    )
    guided = [each for (name, _), each in found.summaries.items() if is_guided(name)]
    if guided:
        seconds = statistics.fmean(each.teacher_seconds for each in guided)
        note += (
            f", for guided methods including its teacher ({seconds:.0f} s on average), "
            "although methods share the teacher of a seed"
        )
    before = [each for each in found.summaries.values() if each.pretraining_seconds]
    if before:
        note += ", including pretraining"
    return note + "."


def _figure(path: str, caption: str) -> dict[str, str]:
    with open(path, "rb") as file:
        return {"caption": caption, "data": base64.b64encode(file.read()).decode()}


def _differences(found: Findings) -> Iterator[list[str]]:
    for each in found.comparisons:
        difference = each.difference
        interval = "-"
        if difference.low is not None:
            interval = f"{difference.low:+.2f} to {difference.high:+.2f}"
        cells = [samples_label(each.samples), each.best, each.other, f"{difference.mean:+.2f}"]
        yield [*cells, interval, _p(each.seeds), _p(each.images), each.verdict]


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _intervals(found: Findings) -> Iterator[list[str]]:
    for (name, count), summary in found.summaries.items():
        # There is no interval without statsmodels, for several labels, and for other tasks.
        interval = found.intervals.get((name, count))
        shown = "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
        trend = found.trends.get((name, count))
        steps = {
            result["iters"]  # of a run that is being continued, not the planned ones
            for run, result in found.results.items()
            if (run.method, run.samples) == (name, count)
        }
        yield [
            *(samples_label(count), name, summary.text(), shown),
            " to ".join(str(each) for each in sorted({min(steps), max(steps)})),
            "not measured" if trend is None else trend.text(),
        ]


def _trials(found: Findings) -> Iterator[list[str]]:
    for each in found.plan.get("chosen") or []:
        listed = ", ".join(f"{rate}: {value:.2f}%" for rate, value in each["trials"].items())
        rate = f"{each['rate']:g}"
        if each.get("weights"):
            tried = ", ".join(f"{name}: {value:.2f}%" for name, value in each["weights"].items())
            rate += f", weight {each['weight']}"
            listed += f"; guidance weights {tried}"
        seconds = duration(each["seconds"])
        yield [samples_label(each["samples"]), each["method"], rate, listed or "-", seconds]


def _pretrainings(found: Findings) -> Iterator[list[str]]:
    groups: dict[tuple[str, int | None], list[dict]] = {}
    for run, result in found.results.items():
        if result.get("pretraining"):
            groups.setdefault((run.method, run.samples), []).append(result["pretraining"])
    for (name, count), several in groups.items():
        summary = found.summaries[name, count]
        looked = [
            f"{key} {statistics.fmean(each['features'][key] for each in several):.3g}"
            for key in several[0]["features"]
            if all(key in each["features"] for each in several)
        ]
        yield [
            *(samples_label(count), name, several[0]["note"]),
            " to ".join(str(each) for each in sorted({each["images"] for each in several})),
            " to ".join(str(each) for each in sorted({each["iters"] for each in several})),
            duration(summary.pretraining_seconds),
            f"{summary.pretraining_seconds / summary.seconds:.0%}" if summary.seconds else "-",
            ", ".join(looked),
        ]


def caveats(found: Findings) -> list[str]:
    """List the limitations of the results.

    Args:
        found (Findings): Findings of the bench.

    Returns:
        list[str]: Sentences for the report.
    """
    data, settings = found.plan["data"], found.plan["settings"]
    tested = sum(data["counts"]["val" if data["same_images"] else "test"])
    seeds = {len(each.accuracies) for each in found.summaries.values()}
    said = []
    if settings.task == CLASSIFICATION and not data.get("several"):
        said = [f"One of the {tested} test images is {100 / tested:.2f} points."]
    if min(seeds) < 2:
        said.append(
            "One seed: no difference can be distinguished from chance. Use --seeds 3 or more."
        )
    elif min(seeds) < 5:
        said.append(
            f"{min(seeds)} seeds: the standard deviations are rough estimates, so the intervals "
            "are wide."
        )
    if data["same_images"]:
        said.append(
            "There is no separate test set: the validation images that select the best checkpoint "
            "are also used for testing, so all accuracies are slightly too high. Add test/."
        )
    said.append(
        "The seed determines the subset, the initial weights and the order of the images. All "
        "methods use the same subset for the same seed. The validation images, which select the "
        "checkpoint to test, do not depend on the subset."
    )
    said.append(_recipe_note(settings, *_searched(found)))
    said += _edge_notes(found.plan.get("chosen") or [])
    if found.varied:
        listed = "; ".join(f"{name} {', '.join(each)}" for name, each in found.varied.items())
        said.append(
            f"The runs were trained with different software or devices ({shorten(listed, 300)}), "
            "which may contribute to the differences between them."
        )
    if settings.budget == "minutes":
        said.append(
            "Each run had the same wall time, so slower methods trained for fewer steps. The "
            "ranking may differ on another machine."
        )
    else:
        said.append(_length_note(settings, found.plan["runs"]))
    if any(is_guided(run.method) for run in found.plan["runs"]):
        said.append(_teacher_note(settings))
    if any(run.pretraining for run in found.plan["runs"]):
        said.append(_pretraining_note(settings))
    return said


def _edge_notes(chosen: Sequence[Mapping]) -> Iterator[str]:
    for word, rate in (("highest", max(RATES)), ("lowest", min(RATES))):
        there = [each for each in chosen if each["rate"] == rate and len(each["trials"]) > 1]
        names = dict.fromkeys(
            f"{each['method']}, {samples_label(each['samples'])}" for each in there
        )
        if names:
            yield (
                f"The {word} of the tried learning rates was best for: {'; '.join(names)}. A "
                f"{word.replace('est', 'er')} one may be better."
            )


def _length_note(settings: BenchSettings, runs: Sequence[Run]) -> str:
    if any(run.begun for run in runs):
        return "Runs whose curve still rose were continued, so the number of steps differs."
    if any(run.pretraining for run in runs):
        return (
            f"Each run without pretraining had the same number of {_unit(settings)}; a run with "
            "pretraining had fewer steps, in exchange for pretraining steps that take the same "
            "time as those it lacks."
        )
    return f"Each run had the same number of {_unit(settings)}; slower methods took more time."


def _unit(settings: BenchSettings) -> str:
    return "epochs" if settings.budget == "epochs" else "steps"


def _searched(found: Findings) -> tuple[bool, bool]:
    """Whether learning rates of some methods, and of all, were selected by trials."""
    chosen = {(each["method"], each["samples"]) for each in found.plan.get("chosen") or []}
    return bool(chosen), set(found.summaries) <= chosen


def _recipe_note(settings: BenchSettings, some: bool, every: bool) -> str:
    schedule = {"trapezoid": "constant, then linear decay to zero", "cosine": "cosine"}
    rate = "the recipe's learning rate"
    if some:
        rate = "the best of three learning rates on the validation images"
        rate += "" if every else " where trials are listed, else the recipe's"
    elif settings.search:
        rate += ", as runs of fewer than 200 steps are too short for trials"
    return (
        f"One recipe (AdamW, {schedule[settings.schedule]}, light augmentation, {rate}) for all "
        "methods: a method may improve with its own recipe. The best methods here are worth "
        "tuning; a small deficit does not rule a method out."
    )


def _teacher_note(settings: BenchSettings) -> str:
    if settings.budget == "minutes":
        return (
            f"A guided run spent {TEACHER_SHARE:.0%} of its time on its teacher, a ResNet-20 "
            "trained on the same subset."
        )
    return (
        "The teacher of a guided run, a ResNet-20 trained on the same subset, was trained for as "
        "many additional steps as the student."
    )


def _pretraining_note(settings: BenchSettings) -> str:
    seen = "the training images of its subset, without their labels"
    if settings.unlabeled:
        seen += f", and the images of {settings.unlabeled}"
    note = (
        f"A method with pretraining spent {settings.pretraining:.0%} of its time on it, on {seen}"
    )
    if settings.budget != "minutes":
        note += (
            ": it replaces the number of training steps that take the same time, as measured by a "
            "trial, so that its run costs as much as one without"
        )
    return note + ". Continued runs were pretrained only once."


def _class_rows(data: dict, splits: Sequence[str], task: str) -> Iterator[tuple]:
    for label, name in enumerate(data["classes"]):
        yield name, *(data["counts"][split][label] for split in splits)
    shared = task == SEGMENTATION or data.get("several")  # an image counts for several classes
    if not shared:
        yield "all", *(sum(data["counts"][split]) for split in splits)
    if "images" in data and (shared or task != CLASSIFICATION):
        yield "images in total", *(data["images"][split] for split in splits)


def _commit(state: dict | None) -> str:
    if state is None:
        return "not in a repository"
    return state["commit"] + (", with uncommitted changes" if state["changed"] else "")


def _settings(found: Findings) -> dict[str, str]:
    settings, record = found.plan["settings"], found.record
    steps = {f"{run.method}, {samples_label(run.samples)}": run.iters for run in found.plan["runs"]}
    listed = [f"{name}: {iters}" for name, iters in steps.items()]
    alike = len(set(steps.values())) == 1
    return {
        "data": settings.data,
        "image size": f"{settings.image_size}x{settings.image_size}",
        "sizes": settings.sizes + (f", {short(settings.target)}" if settings.target else ""),
        "schedule": settings.schedule,
        "budget": f"{settings.amount:g} {settings.budget}",
        "batch size": str(settings.batch_size),
        "horizontal flips": "yes" if settings.flip else "no",
        **({} if settings.void is None else {"ignored label value": str(settings.void)}),
        **({"unlabeled images": settings.unlabeled} if settings.unlabeled else {}),
        "parallel runs": str(found.plan.get("jobs")),
        "steps": str(next(iter(steps.values()))) if alike else "; ".join(listed),
        "device": str(record.get("device", "?")),
        "versions": ", ".join(
            [f"Python {record.get('python', '?')}"]
            + [f"{name} {version}" for name, version in record.get("packages", {}).items()]
        ),
        "smallvit commit": _commit((record.get("git") or {}).get("smallvit")),
    }
