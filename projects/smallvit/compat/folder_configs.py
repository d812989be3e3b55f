"""Adapt configs with ``fit_to_folder`` to their image folder wherever they are built.

MMEngine's runners and ``mmpretrain.get_model``, which MMPretrain's inferencers call, use a
config as it is written; one with ``fit_to_folder`` gets its classes from the folder or
checkpoint. Both are patched, without effect on other configs. Remove this once MMEngine has a hook
between a config and its Runner (0.10.7 has none).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from os import PathLike
from types import ModuleType
from typing import Any

from smallvit.compat.after_import import patch_after_import

KEY = "fit_to_folder"
#: Modules that define the patched functions.
RUNNERS = {
    "mmengine.runner.runner": "Runner",
    "mmengine.runner._flexible_runner": "FlexibleRunner",
}
MODELS = "mmpretrain.apis.model"


def install(fit: str) -> None:
    """Adapt configs with ``fit_to_folder`` before they are built. Nothing is imported.

    Args:
        fit (str): Module and name of a function, ``"package.module:name"``. It takes a
            config, the path of a checkpoint or None, and whether datasets will be built; it
            returns the config to build.
    """

    def call_fit(*args: Any) -> Any:
        module, _, name = fit.partition(":")
        return getattr(import_module(module), name)(*args)

    for module, name in RUNNERS.items():
        patch_after_import(module, lambda found, name=name: _patch_runner(found, name, call_fit))
    patch_after_import(MODELS, lambda found: _patch_get_model(found, call_fit))


def _patch_runner(module: ModuleType, name: str, fit: Callable) -> None:
    kind = getattr(module, name)
    original = kind.from_cfg.__func__
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def from_cfg(cls: type, cfg: Any) -> Any:
        if cfg.get(KEY) is not None:
            # Without training data it is a test, and its weights determine the classes.
            tested = None if cfg.get("train_dataloader") else cfg.get("load_from")
            cfg = fit(cfg, tested, True)
        return original(cls, cfg)

    kind.from_cfg = classmethod(from_cfg)


def _patch_get_model(module: ModuleType, fit: Callable) -> None:
    original = module.get_model
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def get_model(model: Any, pretrained: Any = False, *args: Any, **kwargs: Any) -> Any:
        cfg = _config_of(model)
        if cfg is not None and cfg.get(KEY) is not None:
            checkpoint = cfg.get("load_from") if pretrained is True else pretrained
            model = fit(cfg, checkpoint or None, False)
        return original(model, pretrained, *args, **kwargs)

    # If MMPretrain was imported before smallvit, other modules hold the function already.
    for holder in list(sys.modules.values()):
        if getattr(holder, "__dict__", {}).get("get_model") is original:
            holder.get_model = get_model


def _config_of(model: Any) -> Any:
    from mmengine.config import Config

    if isinstance(model, Config):
        return model
    if isinstance(model, (str, PathLike)) and str(model).endswith(".py"):
        return Config.fromfile(model)
    return None
