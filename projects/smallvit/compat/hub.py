"""Support for ``mmengine.hub.get_model("smallvit::dwnet/dwnet-t_in1k.py")``.

MMEngine builds the model in the scope of its address, but our configs use classifiers, detectors
and segmentors of three libraries. Remove this once MMEngine builds in the config's
``default_scope`` (0.10.7 does not).
"""

from __future__ import annotations

from functools import wraps
from types import ModuleType
from typing import Any

from smallvit.compat.after_import import patch_after_import


def install() -> None:
    """Patch the hub when it is imported. Nothing is imported."""
    patch_after_import("mmengine.hub.hub", _patch)


def _patch(module: ModuleType) -> None:
    original = module.get_config
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def get_config(cfg_path: str, *args: Any, **kwargs: Any) -> Any:
        cfg = original(cfg_path, *args, **kwargs)
        scope = cfg.get("default_scope")
        if cfg_path.startswith("smallvit::") and scope and hasattr(cfg.get("model"), "get"):
            cfg.model.setdefault("_scope_", scope)
        return cfg

    module.get_config = get_config
