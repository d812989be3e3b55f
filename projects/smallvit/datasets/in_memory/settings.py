"""Inspection of the configs of in-memory datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Arguments of ``smallvit.InMemory`` itself; the others are those of the dataset.
OWN = ("of", "max_gib", "cache")


def kind_of(settings: Mapping[str, Any]) -> Any:
    """Get the type of a dataset, in memory or not.

    Args:
        settings (Mapping): Config of the dataset.

    Returns:
        Any: ``of`` if it is in memory, else ``type``.
    """
    return settings["of"] if is_in_memory(settings) else settings.get("type")


def is_in_memory(settings: Mapping[str, Any]) -> bool:
    """Check whether a config is that of an in-memory dataset; see :func:`kind_of`."""
    kind = settings.get("type")
    return isinstance(kind, str) and kind.rpartition(".")[2] == "InMemory" and "of" in settings


def outside_memory(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the config of a dataset that reads its images each time.

    Args:
        settings (Mapping): A config of a dataset, in memory or not, or of one around it.

    Returns:
        dict: That of the same dataset, itself.
    """
    found = dict(settings)
    if is_in_memory(settings):
        found = {key: value for key, value in settings.items() if key not in OWN}
        found["type"] = settings["of"]
    if isinstance(found.get("dataset"), Mapping):
        found["dataset"] = outside_memory(found["dataset"])
    return found
