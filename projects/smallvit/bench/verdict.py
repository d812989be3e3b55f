"""Summary of a bench: network sizes, best methods, their significance, and missing runs."""

from __future__ import annotations

from collections.abc import Iterator

from smallvit.bench import chance
from smallvit.bench.findings import Findings
from smallvit.bench.methods import TEACHER, is_pretrained
from smallvit.bench.results import ranking
from smallvit.bench.settings import BenchSettings, Run, samples_label
from smallvit.bench.sizes import PUBLISHED, TOLERANCE
from smallvit.bench.table import short
from smallvit.bench.tasks import CLASSIFICATION, TASKS


def size_note(found: Findings) -> tuple[bool, str]:
    """Describe whether the networks have equal size.

    Args:
        found (Findings): Findings of the bench.

    Returns:
        tuple[bool, str]: Whether the sizes are equal, and a sentence for the report.
    """
    settings = found.plan["settings"]
    unit = "flops" if settings.sizes == "flops" else "params"
    word = "FLOPs" if unit == "flops" else "parameters"
    shown = {name for name, _ in found.summaries}
    sizes = {name: cost[unit] for name, cost in found.costs["methods"].items() if name in shown}
    if not sizes:
        return False, "The network sizes were not measured."
    same, said = _compared(settings, sizes, word)
    left = sorted(shown - set(sizes))
    return (same, said) if not left else (False, f"{said} Not measured: {', '.join(left)}.")


def _compared(settings: BenchSettings, sizes: dict, word: str) -> tuple[bool, str]:
    least, most = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
    if settings.sizes != PUBLISHED:
        off = {
            name: size
            for name, size in sizes.items()
            if abs(size / settings.target - 1) > TOLERANCE
        }
        if not off:
            target = short(settings.target)
            return True, f"All networks have {target} {word}, within {TOLERANCE:.0%}."
        listed = ", ".join(
            f"{name} has {short(size)}, {size / settings.target:.2f} times as many"
            for name, size in off.items()
        )
        return False, (
            f"The networks differ in size: the target is {short(settings.target)} {word}; {listed}."
        )
    if sizes[most] <= (1 + TOLERANCE) * sizes[least]:
        return True, f"The networks have {short(sizes[least])} to {short(sizes[most])} {word}."
    return False, (
        f"The networks differ in size: {most} has {short(sizes[most])} {word}, "
        f"{sizes[most] / sizes[least]:.1f} times the {short(sizes[least])} of {least}."
    )


def answers(found: Findings) -> Iterator[dict]:
    """Find the best method on each subset, and those that do not differ significantly from it.

    Args:
        found (Findings): Findings of the bench.

    Yields:
        dict: ``trained_on``, ``best``, ``accuracy``, ``interval`` (of the test images, or
        None), ``ties``, ``one_seed``, ``rising`` (methods that would profit from longer
        training), ``way_on`` (how to train them longer), ``unknown`` (methods with too few
        validations to see whether they would) and ``no_better_than_guessing``.
    """
    for count in found.samples:
        there = {key: each for key, each in found.summaries.items() if key[1] == count}
        names = ranking(there, [count])
        if not names:
            continue
        best = found.summaries[names[0], count]
        pairs = [each for each in found.comparisons if each.samples == count]
        curves = {name: found.trends.get((name, count)) for name in names}
        yield {
            "trained_on": samples_label(count),
            "best": names[0],
            "accuracy": best.text(),
            "interval": found.intervals.get((names[0], count)),
            "ties": [each.other for each in pairs if not each.differ],
            "one_seed": len(best.accuracies) < 2,
            "rising": [name for name, each in curves.items() if each and each.rising],
            "way_on": _way_on(found),
            "unknown": [
                name for name, each in curves.items() if each is None or each.rising is None
            ],
            "no_better_than_guessing": [name for name in names if _guesses(found, name, count)],
        }


def _way_on(found: Findings) -> str:
    settings = found.plan["settings"]
    if settings.budget == "minutes":
        return "use a larger --budget-minutes and another --out"
    if settings.schedule == "cosine":
        return "use --schedule trapezoid and another --out"
    return "--until-flat continues these runs"


def _guesses(found: Findings, name: str, count: int | None) -> bool:
    interval = found.intervals.get((name, count))
    return interval is not None and interval[0] <= found.guessing


def missing(found: Findings) -> list[Run]:
    """List the runs without a result, or with that of a shorter run only.

    Args:
        found (Findings): Findings of the bench.

    Returns:
        list[Run]: Missing runs, including failed ones.
    """
    return [
        run
        for run in found.plan["runs"]
        if run not in found.results or found.results[run]["iters"] < run.iters
    ]


def missing_note(found: Findings) -> str | None:
    """Describe the missing runs of an unfinished bench.

    Args:
        found (Findings): Findings of the bench.

    Returns:
        str | None: Sentence for the report; None if the bench is finished.
    """
    left = missing(found)
    if not left:
        return None
    groups: dict[tuple[str, int | None], list[int]] = {}
    for run in left:
        groups.setdefault((run.method, run.samples), []).append(run.seed)
    listed = "; ".join(
        f"{name if name != TEACHER else 'the teacher'}, {samples_label(count)}, seed "
        f"{', '.join(map(str, sorted(seeds)))}"
        for (name, count), seeds in groups.items()
    )
    done = len(found.plan["runs"]) - len(left)
    return f"Unfinished: {done} of {len(found.plan['runs'])} runs are done. Missing: {listed}."


def notes(found: Findings) -> list[str]:
    """List further limitations of the results.

    Args:
        found (Findings): Findings of the bench.

    Returns:
        list[str]: Sentences for the report.
    """
    task = found.plan["settings"].task
    if found.plan["data"].get("several"):
        said = [
            "Images may have several labels: mAP is the mean average precision over the classes; "
            "there is no test over images."
        ]
    elif task != CLASSIFICATION:
        said = [
            f"The metric for {task} is {TASKS[task].title} in percent. Variation over seeds is "
            "tested; variation over test images is not estimated."
        ]
    else:
        said = [f"Always predicting the most frequent class gives {found.guessing:.2f}%."]
    if not chance.is_available():
        said.append(chance.MISSING[0].upper() + chance.MISSING[1:] + ".")
    measured = {name for name, _ in found.summaries}
    for name, reason in (found.plan.get("unavailable") or {}).items():
        if name not in measured:
            said.append(f"{name} was not measured because its weights are unavailable: {reason}")
    if any(is_pretrained(name) for name in measured):
        said.append(
            "Networks with :pretrained were trained on other images before and use their input "
            "size: they are a reference for the other methods, not competitors under equal terms."
        )
    return said
