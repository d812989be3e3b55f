"""Recipe report of a config: collecting, formatting, comparing and plotting."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger

from smallvit.analysis.recipe import loader, pipeline, schedule, weights
from smallvit.analysis.recipe.names import system_of

#: Assumed iterations per epoch if the number of images is neither published nor available.
ASSUMED = 100


def curve_of(cfg: Config, images: int | None = None) -> schedule.LRCurve:
    """Compute the learning rate of a config over the whole training.

    Args:
        cfg (Config): Training config.
        images (int, optional): Number of training images. Defaults to None: the published number,
            or the number of files.

    Returns:
        LRCurve: Learning rates of parameters without a multiplier.
    """
    images = loader.count_images(cfg) if images is None else images
    length = loader.count_iterations(cfg, images)
    if length is None and schedule.training_length(cfg)[0]:
        length = ASSUMED
    (curve,) = schedule.learning_rates(cfg, length)
    return curve


def recipe(cfg: Config, images: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Describe the training of a config, from its built components.

    Args:
        cfg (Config): Training config.
        images (int, optional): Number of training images. Defaults to None: the published number,
            or the number of files.
        seed (int): Seed of the initial weights. Defaults to 0.

    Returns:
        dict: Sections of numbers and settings by name, as nested plain values.
    """
    with quiet():
        return _collect(cfg, loader.count_images(cfg) if images is None else images, seed)


def _collect(cfg: Config, images: int | None, seed: int) -> dict[str, Any]:
    model = weights.build_network(cfg, seed)
    system = system_of(cfg)
    return {
        "loader": loader.describe_loader(cfg, images),
        "learning rate": schedule.describe_curve(curve_of(cfg, images)),
        "step": loader.describe_step(cfg),
        "moving average": loader.describe_averaging(cfg),
        "guidance": loader.describe_guidance(cfg),
        "training images": pipeline.describe_training_images(cfg),
        "normalization": pipeline.describe_normalization(cfg),
        "mixing": pipeline.describe_mixing(cfg),
        "test images": pipeline.describe_test_images(cfg),
        "modules": weights.describe_modules(model),
        "groups": weights.describe_groups(cfg, model, system),
        "initial weights": weights.describe_initialization(model, system),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the log lines on the settings of each parameter."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def flatten(found: Mapping, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Iterate over the values of a nested recipe.

    Args:
        found (Mapping): Recipe or section.
        prefix (tuple[str, ...]): Keys of the section. Defaults to ().

    Yields:
        tuple[tuple[str, ...], Any]: Keys and value.
    """
    for key, value in found.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, (*prefix, str(key)))
        else:
            yield (*prefix, str(key)), value


def differences(
    ours: Mapping, other: Mapping, tolerance: float = 1e-6
) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """Compare two recipes.

    Initial means and standard deviations count as equal if they differ by less than four standard
    errors.

    Args:
        ours (Mapping): First recipe.
        other (Mapping): Second recipe.
        tolerance (float): Maximum relative difference of equal numbers. Defaults to 1e-6.

    Returns:
        dict: Both values by keys, for keys with different values; None for a missing value.
    """
    left, right = dict(flatten(ours)), dict(flatten(other))
    found = {}
    for key in dict.fromkeys([*left, *right]):
        values = left.get(key), right.get(key)
        equal = _drawn_alike(key, left, right) if key[0] == "initial weights" else None
        if not (_equal(*values, tolerance=tolerance) if equal is None else equal):
            found[key] = values
    return found


def _drawn_alike(key: tuple[str, ...], left: Mapping, right: Mapping) -> bool | None:
    """Whether two statistics differ only by chance; None if they are not random."""
    *kind, name = key
    if name in ("max", "outliers"):
        return True  # too random to compare; constants differ in the mean
    sides = [{n: side.get((*kind, n)) for n in ("n", "mean", "std")} for side in (left, right)]
    if name not in ("mean", "std") or any(None in side.values() for side in sides):
        return None
    error = max(side["std"] for side in sides) / sides[0]["n"] ** 0.5
    bound = 4 * error if name == "std" else 4 * 2**0.5 * error
    return abs(sides[0][name] - sides[1][name]) <= bound + 1e-9


def _equal(left: Any, right: Any, tolerance: float) -> bool:
    numbers = all(isinstance(value, (int, float)) for value in (left, right))
    if numbers:
        return abs(left - right) <= tolerance * max(abs(left), abs(right))
    return left == right


def as_text(found: Mapping, indent: int = 0) -> str:
    """Format a recipe as text.

    Args:
        found (Mapping): Recipe or section.
        indent (int): Number of spaces before each line. Defaults to 0.

    Returns:
        str: Text with one line per value.
    """
    lines = []
    for key, value in found.items():
        if isinstance(value, Mapping) and _is_table(value):
            lines.append(f"{' ' * indent}{key}")
            lines.extend(_table(value, indent + 2))
        elif isinstance(value, Mapping) and value:
            lines.append(f"{' ' * indent}{key}")
            lines.append(as_text(value, indent + 2))
        else:
            lines.append(f"{' ' * indent}{key}: {_show(value)}")
    return "\n".join(lines)


def _is_table(value: Mapping) -> bool:
    """Whether all rows have the same columns of plain values."""
    rows = list(value.values())
    if len(rows) < 2 or not all(isinstance(row, Mapping) and row for row in rows):
        return False
    columns = set(rows[0])
    return all(set(row) == columns for row in rows) and not any(
        isinstance(cell, (Mapping, list)) and len(str(cell)) > 30
        for row in rows
        for cell in row.values()
    )


def _table(value: Mapping, indent: int) -> list[str]:
    columns = list(next(iter(value.values())))
    rows = [["", *columns], *([key, *map(_show, row.values())] for key, row in value.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns) + 1)]
    return [
        " " * indent
        + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _show(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_show(child)}" for key, child in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_show, value)) + ")"
    return str(value)
