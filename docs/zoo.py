"""Build the table of the model zoo from the metafiles in ``model-index.yml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml


def rows(root: Path) -> list[dict[str, str]]:
    """Collect the models of all metafiles.

    Args:
        root (Path): The repository.

    Returns:
        list[dict[str, str]]: Columns by their names; what nobody published is empty.
    """
    found = []
    for name in yaml.safe_load((root / "model-index.yml").read_text(encoding="utf-8"))["Import"]:
        for model in yaml.safe_load((root / name).read_text(encoding="utf-8"))["Models"]:
            about, results = model.get("Metadata", {}), model.get("Results", [])
            found.append(
                {
                    "model": f"[{model['Name']}](../{model['Config']})",
                    "system": str(model["In Collection"]),
                    "task": _joined(result["Task"] for result in results),
                    "data": _joined(result["Dataset"] for result in results),
                    "parameters": _short(about.get("Parameters"), 1e6, "M"),
                    "FLOPs": _short(about.get("FLOPs"), 1e9, "G"),
                    "published": _joined(
                        f"{metric} {value}"
                        for result in results
                        for metric, value in result.get("Metrics", {}).items()
                    ),
                    "weights": _weights(model),
                }
            )
    return found


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(map(str, words)))


def _short(value: float | None, unit: float, letter: str) -> str:
    if value is None:
        return ""
    number = value / unit
    return f"{number:.0f} {letter}" if number >= 100 else f"{number:.3g} {letter}"


def _weights(model: dict) -> str:
    if model.get("Weights"):
        return f"[download]({model['Weights']})"
    converted = model.get("Converted From", {}).get("Weights")
    return f"[official]({converted})" if converted else ""


def table(root: Path) -> str:
    """Format the table as Markdown.

    Args:
        root (Path): The repository.

    Returns:
        str: One row a model.
    """
    found = rows(root)
    lines = ["| " + " | ".join(found[0]) + " |", "|---" * len(found[0]) + "|"]
    lines += ["| " + " | ".join(row.values()) + " |" for row in found]
    return "\n".join(lines) + "\n"
