"""Default hooks of every run, as listed in ``configs/_base_/guards.py``."""

from __future__ import annotations

import logging
import runpy
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from smallvit.utils.configs import config_path

_LIST: dict[str, dict[str, Any]] = runpy.run_path(config_path("_base_/guards.py"))["guards"]
#: Hook types by their keys in ``default_hooks``, except the checkpoint hook.
GUARDS = {key: hook["type"] for key, hook in _LIST.items() if key != "checkpoint"}
CHECKPOINT = _LIST["checkpoint"]["type"]
_STOCK_CHECKPOINT = "CheckpointHook"
#: Current names of hooks that were renamed, and of their keys in ``default_hooks``.
_RENAMED = {"ExactRoIHook": "Float32RoIHook"}
_RENAMED_KEYS = {"exact_rois": "float32_rois"}


def add_guards(cfg: Config) -> None:
    """Add the default hooks that a config of any MM library does not set.

    Hooks that the config sets or disables (``enabled=False``) and custom checkpoint hooks are not
    changed.

    Args:
        cfg (Config): The config, changed in place.
    """
    hooks = dict(cfg.get("default_hooks") or {})
    _rename_keys(hooks)
    present = {_name(hook) for hook in [*hooks.values(), *(cfg.get("custom_hooks") or [])]}
    for key in GUARDS:
        if key not in hooks and _name(_LIST[key]) not in present:
            hooks[key] = deepcopy(_LIST[key])
    checkpoint = hooks.get("checkpoint", {"interval": 1})
    if checkpoint is not None:
        checkpoint.setdefault("type", _STOCK_CHECKPOINT)
        if _name(checkpoint) == _STOCK_CHECKPOINT:
            checkpoint["type"] = CHECKPOINT
        hooks["checkpoint"] = checkpoint
    cfg.default_hooks = hooks


def _rename_keys(hooks: dict[str, Any]) -> None:
    """Apply a setting under a former key, such as None, to the hook."""
    for old, new in _RENAMED_KEYS.items():
        if old in hooks:
            hooks[new] = hooks.pop(old)
            print_log(f"default_hooks.{old} was renamed to {new}", "current", logging.WARNING)


def _name(hook: Any) -> str:
    kind = hook.get("type") if hasattr(hook, "get") else type(hook)
    name = (kind if isinstance(kind, str) else getattr(kind, "__name__", "")).rpartition(".")[2]
    return _RENAMED.get(name, name)
