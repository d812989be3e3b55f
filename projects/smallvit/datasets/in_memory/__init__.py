"""In-memory datasets of small images, with transforms that are applied to whole batches.

The dataset and its preprocessor are imported on first access, because they require MMPretrain.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "AugmentingPreprocessor": "preprocessor",
    "ImageBatch": "batches",
    "InMemory": "images",
    "PendingImages": "batches",
    "collate_in_memory": "batches",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
