"""Parameters and FLOPs of our models compared with the published numbers.

The published numbers are those in the ``metafile.yml`` files in ``configs/``. A difference of more
than 2% must be explained there, under ``Differences``.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from smallvit.analysis.complexity import complexity
from smallvit.errors import UserError
from smallvit.utils.configs import config_path

ROOT = Path(config_path("")).parent
TOLERANCE = 0.02
#: Exceptions raised for a file that is not a list of models.
_DAMAGE = (
    *(yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError),
    RecursionError,
)

#: Compared quantities: name in a metafile, key in the result of ``complexity``, and unit.
QUANTITIES = (("Parameters", "params", 1e6, "M"), ("FLOPs", "flops", 1e9, "G"))


@dataclass
class Row:
    """Published and measured numbers of a model.

    Args:
        name (str): Name of the model.
        config (str): Path of its config relative to the root.
        published (dict): Published ``Parameters`` and ``FLOPs``, if available.
        reasons (dict): Explanations of differences, with the same keys.
        input_size (tuple[int, int], optional): Height and width of the input for the published
            FLOPs. Defaults to None: the usual size for the task.
        ours (dict): Measured numbers, with the same keys.
    """

    name: str
    config: str
    published: dict[str, float]
    reasons: dict[str, str]
    input_size: tuple[int, int] | None = None
    ours: dict[str, float] = field(default_factory=dict)

    def difference(self, quantity: str) -> float | None:
        """Relative difference from the published value; None if there is none."""
        published = self.published.get(quantity)
        if published is None or quantity not in self.ours:
            return None
        return self.ours[quantity] / published - 1

    def unexplained(self) -> list[str]:
        """Names of the quantities with an unexplained difference above the tolerance."""
        return [
            name
            for name, *_ in QUANTITIES
            if abs(self.difference(name) or 0.0) > TOLERANCE and not self.reasons.get(name)
        ]


def read_rows(root: Path = ROOT) -> list[Row]:
    """Read the models of all metafiles in ``configs/``.

    Args:
        root (Path): Folder that contains ``configs``. Defaults to the repository.

    Returns:
        list[Row]: Models with a config, in the order of the files.

    Raises:
        UserError: If there is no metafile, or the config of a model does not exist.
    """
    metafiles = sorted(root.glob("configs/*/metafile.yml"))
    if not metafiles:
        raise UserError(f"no metafile.yml in subfolders of {root / 'configs'}")
    return [row for metafile in metafiles for row in _rows_of(metafile, root)]


def _rows_of(metafile: Path, root: Path) -> Iterator[Row]:
    for model in _models_of(metafile):
        if not (root / model["Config"]).is_file():
            raise UserError(
                f"{metafile}: the config {model['Config']!r} of model {model['Name']!r} does not "
                "exist"
            )
        metadata = model.get("Metadata") or {}
        yield Row(
            name=model["Name"],
            config=model["Config"],
            published={key: metadata[key] for key, *_ in QUANTITIES if metadata.get(key)},
            reasons=metadata.get("Differences") or {},
            input_size=tuple(metadata["Input Size"]) if metadata.get("Input Size") else None,
        )


def _models_of(metafile: Path) -> list[dict]:
    try:
        models = yaml.safe_load(metafile.read_text(encoding="utf-8")).get("Models") or []
        for model in models:
            if not all(isinstance(model[key], str) for key in ("Name", "Config")):
                raise TypeError("Name and Config must be strings")
            _check_metadata(model.get("Metadata") or {})
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise UserError(f"{metafile} is not a valid list of models ({reason})") from error
    return models


def _check_metadata(found: dict) -> None:
    for key, *_ in QUANTITIES:
        if not isinstance(found.get(key, 0), (int, float)):
            raise TypeError(f"{key} must be a number")
    if not isinstance(found.get("Differences") or {}, dict):
        raise TypeError("Differences must be a mapping")


def select(rows: Iterable[Row], pattern: str | None) -> list[Row]:
    """Select the rows whose name matches a shell pattern.

    Args:
        rows (Iterable[Row]): Rows to select from.
        pattern (str, optional): Pattern such as ``dwnet-t_*``; None selects all.

    Returns:
        list[Row]: Matching rows.

    Raises:
        UserError: If no row matches.
    """
    rows = list(rows)
    chosen = [row for row in rows if pattern is None or fnmatch.fnmatch(row.name, pattern)]
    if not chosen:
        names = ", ".join(row.name for row in rows)
        raise UserError(f"no model matches {pattern!r}; the metafiles list {names}")
    return chosen


def measure(row: Row, root: Path = ROOT) -> Row:
    """Count the parameters and FLOPs of a row's model and store them in the row.

    Args:
        row (Row): Published model to measure.
        root (Path): Folder that its config path is relative to. Defaults to the repository.

    Returns:
        Row: The same row.
    """
    # Redirected, as the libraries log to standard output, which tools need for their tables.
    with redirect_stdout(sys.stderr):
        sizes = complexity(str(root / row.config), row.input_size)
    row.ours = {name: sizes[key] for name, key, *_ in QUANTITIES}
    row.input_size = tuple(sizes["shape"])
    return row


def markdown(rows: Iterable[Row]) -> str:
    """Format measured rows as a Markdown table.

    Args:
        rows (Iterable[Row]): Rows measured with :func:`measure`.

    Returns:
        str: Table with one line per model.
    """
    titles = ["Model", "Input"]
    for name, *_ in QUANTITIES:
        titles += [name, "published", "difference"]
    lines = [[*titles, "Explanation"], ["---"] * (len(titles) + 1)]
    lines += [_cells(row) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> list[str]:
    cells = [row.name, "x".join(map(str, row.input_size or ()))]
    notes = []
    for name, _, unit, letter in QUANTITIES:
        published, difference = row.published.get(name), row.difference(name)
        cells.append(f"{row.ours[name] / unit:.1f}{letter}")
        cells.append("-" if published is None else f"{published / unit:.4g}{letter}")
        cells.append("-" if difference is None else f"{difference:+.1%}")
        if difference is not None and abs(difference) > TOLERANCE:
            notes.append(f"{name}: {row.reasons.get(name) or 'NOT EXPLAINED'}")
    return [*cells, "; ".join(notes)]


def as_json(rows: Iterable[Row]) -> str:
    """Format measured rows as JSON, with their relative differences.

    Args:
        rows (Iterable[Row]): Rows measured with :func:`measure`.

    Returns:
        str: List with one object per model.
    """
    return json.dumps([{**asdict(row), **_verdict(row)} for row in rows], indent=2)


def _verdict(row: Row) -> dict[str, Any]:
    differences = {name: row.difference(name) for name, *_ in QUANTITIES}
    return {"differences": differences, "unexplained": row.unexplained()}
