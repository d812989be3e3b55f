"""Inspection and conversion of configs of in-memory datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Arguments of ``smallvit.InMemory``; all others are passed to the wrapped dataset.
OWN = ("of", "max_gib", "cache")


def kind_of(settings: Mapping[str, Any]) -> Any:
    """Get the type of a dataset, or of the wrapped dataset of an in-memory dataset.

    Args:
        settings (Mapping): Dataset config.

    Returns:
        Any: ``of`` of an in-memory dataset, otherwise ``type``.
    """
    return settings["of"] if is_in_memory(settings) else settings.get("type")


def is_in_memory(settings: Mapping[str, Any]) -> bool:
    """Check whether a dataset config is of type ``smallvit.InMemory``."""
    kind = settings.get("type")
    return isinstance(kind, str) and kind.rpartition(".")[2] == "InMemory" and "of" in settings


def outside_memory(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace an in-memory dataset by the wrapped dataset, which reads images from disk.

    Args:
        settings (Mapping): Config of a dataset or of a dataset wrapper.

    Returns:
        dict: Config without ``smallvit.InMemory``.
    """
    found = dict(settings)
    if is_in_memory(settings):
        found = {key: value for key, value in settings.items() if key not in OWN}
        found["type"] = settings["of"]
    if isinstance(found.get("dataset"), Mapping):
        found["dataset"] = outside_memory(found["dataset"])
    return found
