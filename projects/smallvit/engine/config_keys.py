"""Detect misspelled keys in a config before anything is built.

MMEngine ignores unknown keys, so that with ``optim_wraper`` or
``default_hooks.checkpoint.save_bset`` training completes without the setting. Because a config may
define its own names, only keys that resemble a known key are refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from typing import Any

from mmengine import registry as roots
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from smallvit.datasets.in_memory.settings import is_in_memory
from smallvit.engine.guards import GUARDS
from smallvit.errors import UserError
from smallvit.utils.spelling import CLOSED, ONE_SLIP, closest_name

#: Config key that lists keys to accept although they look misspelled.
ACCEPTED = "unchecked_keys"
#: Top-level keys read by MMEngine and our tools, besides the arguments of the Runner.
TOP_LEVEL = (
    *("_base_", "_delete_", "compile", "custom_imports", "find_unused_parameters"),
    *("model_wrapper_cfg", "runner_type", "strategy", "sync_bn", "tta_model", "tta_pipeline"),
    *("calibration_dataloader", "data_root", "fit_to_folder", ACCEPTED),
)
LOADER = ("batch_size", "num_workers", "dataset", "num_batch_per_epoch")
DETECTION = (
    *("rpn", "rcnn", "rpn_proposal", "nms_pre", "max_per_img", "nms", "min_bbox_size"),
    *("score_thr", "mask_thr_binary", "assigner", "sampler", "allowed_border", "pos_weight"),
    *("debug", "mask_size", "mode", "crop_size", "stride", "augments", "probs", "max_per_image"),
)
#: Keys of dicts that are not passed to a class, or are read before the class is built, by path of
#: the dict; ``*`` matches any key.
PLAIN_KEYS = {
    "*_dataloader": LOADER,
    "train_cfg": ("by_epoch",),
    "optim_wrapper": ("constructor", "optimizer", "paramwise_cfg", "clip_grad"),
    "optim_wrapper.clip_grad": (
        *("type", "max_norm", "norm_type", "error_if_nonfinite", "foreach", "clip_value"),
    ),
    "optim_wrapper.paramwise_cfg": (
        *("bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "flat_decay_mult"),
        *("dwconv_decay_mult", "dcn_offset_lr_mult", "bypass_duplicate", "custom_keys"),
        *("num_layers", "decay_rate", "decay_type", "layer_decay_rate", "constructor"),
    ),
    "optim_wrapper.paramwise_cfg.custom_keys.*": ("lr_mult", "decay_mult"),
    "param_scheduler*": ("convert_to_iter_based", "epoch_length"),
    "default_hooks": (
        *("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"),
        *("visualization", *GUARDS),
    ),
    "default_hooks.*": ("priority",),
    "custom_hooks.*": ("priority", "momentum", "update_buffers"),
    "env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
    "env_cfg.mp_cfg": ("mp_start_method", "opencv_num_threads"),
    "env_cfg.dist_cfg": ("backend", "timeout", "init_backend"),
    "randomness": ("seed", "diff_rank_seed", "deterministic"),
    "auto_scale_lr": ("enable", "base_batch_size"),
    "custom_imports": ("imports", "allow_failed_imports"),
    "model*.train_cfg": DETECTION,
    "model*.test_cfg": DETECTION,
    "model*.train_cfg.*": DETECTION,
    "model*.test_cfg.*": DETECTION,
    "*.metainfo": ("classes", "palette"),
    "*.data_prefix": ("img", "img_path", "seg_map_path", "seg", "ann"),
    "*.filter_cfg": ("filter_empty_gt", "min_size"),
    "*.norm_cfg": ("requires_grad",),
}
#: Dicts whose other keys are ignored, or make a call fail.
CLOSED_KEYS = (
    *("randomness", "optim_wrapper.clip_grad", "*.data_prefix", "*.filter_cfg"),
    *("model*.train_cfg", "model*.test_cfg", "auto_scale_lr"),
)
#: Default types of MMEngine and our hooks, where the config names none.
DEFAULT_TYPES = {
    "optim_wrapper": "OptimWrapper",
    "val_cfg": "ValLoop",
    "test_cfg": "TestLoop",
    "log_processor": "LogProcessor",
    "visualizer": "Visualizer",
    "default_hooks.checkpoint": "CheckpointHook",
    # MMPretrain's; no other library uses this name.
    "data_preprocessor": "ClsDataPreprocessor",
    "model.data_preprocessor": "ClsDataPreprocessor",
}
#: Registries in which the types below a top-level key are looked up.
REGISTRIES = {
    "model": ("MODELS", "TASK_UTILS"),
    "tta_model": ("MODELS",),
    "data_preprocessor": ("MODELS",),
    "model_wrapper_cfg": ("MODEL_WRAPPERS",),
    "dataloader": ("DATASETS", "TRANSFORMS", "DATA_SAMPLERS"),
    "tta_pipeline": ("TRANSFORMS",),
    "evaluator": ("EVALUATOR", "METRICS"),
    "cfg": ("LOOPS",),
    "optim_wrapper": ("OPTIM_WRAPPERS", "OPTIMIZERS"),
    "param_scheduler": ("PARAM_SCHEDULERS",),
    "default_hooks": ("HOOKS",),
    "custom_hooks": ("HOOKS",),
    "log_processor": ("LOG_PROCESSORS",),
    "visualizer": ("VISUALIZERS", "VISBACKENDS"),
    "strategy": ("STRATEGIES",),
}
IGNORED = ("type", "_scope_", "_delete_")


def check_keys(cfg: Config) -> None:
    """Refuse a config with keys that look misspelled.

    Known keys are those that MMEngine and our tools read and, for every dict with a ``type``, the
    arguments of its class, including those of its base classes if it forwards ``**kwargs``.
    Nothing is built. Keys that resemble no known key are ignored: MMEngine allows user-defined
    names at the top level, and classes raise errors for unknown arguments.

    Args:
        cfg (Config): The config with merged overrides. ``unchecked_keys`` lists dotted keys that
            are accepted.

    Raises:
        UserError: If keys look misspelled; the message lists all of them.
    """
    accepted = cfg.get(ACCEPTED) or ()
    accepted = {accepted} if isinstance(accepted, str) else set(accepted)
    found = [one for one in misspelled_keys(cfg) if one[0] not in accepted]
    if not found:
        return
    lines = [f"{path}: did you mean {meant}{where}?" for path, meant, where in found]
    where = f"{cfg.filename}: " if getattr(cfg, "filename", None) else ""
    paths = ",".join(path for path, _, _ in found)
    raise UserError(
        f"{where}options that look misspelled:\n  " + "\n  ".join(lines) + "\n"
        f'Rename them, or accept them with --cfg-options {ACCEPTED}="[{paths}]"'
    )


def misspelled_keys(cfg: Config) -> Iterator[tuple[str, str, str]]:
    """Find the keys of a config that look misspelled.

    Args:
        cfg (Config): The merged config.

    Yields:
        tuple[str, str, str]: Dotted key, the known key that it resembles, and a phrase about where
        that key is valid.
    """
    known = {*inspect.signature(Runner).parameters, *TOP_LEVEL}
    for key in cfg:
        meant = closest_name(key, known)
        if meant is not None:
            yield key, meant, ""
    scope = cfg.get("default_scope") or "mmengine"
    for key in known & set(cfg):
        names = REGISTRIES.get(key) or REGISTRIES.get(key.rpartition("_")[2], ())
        yield from _below(cfg[key], key, _Types(names, scope))


def _below(node: Any, path: str, types: _Types) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, (list, tuple)):
        for number, child in enumerate(node):
            yield from _below(child, f"{path}.{number}", types)
    if not isinstance(node, dict):
        return
    types = types.inside(node)
    kind = types.find(node, path)
    known = {*_parameters(kind), *_plain_keys(path)} if kind else _plain_keys(path)
    if is_in_memory(node):  # forwards its other arguments to the dataset
        kind = types.find({"type": node["of"]}, path) or kind
        known.update(_parameters(kind))
    known.update(known and IGNORED)
    closed = _is_closed(kind) if kind else any(fnmatchcase(path, each) for each in CLOSED_KEYS)
    shortest = CLOSED if closed else ONE_SLIP
    for key, child in node.items():
        meant = closest_name(key, known, shortest) if isinstance(key, str) else None
        if meant is not None:
            where = kind and meant in _parameters(kind)
            yield f"{path}.{key}", meant, f" (an option of {kind.__name__})" if where else ""
        yield from _below(child, f"{path}.{key}", types)


def _plain_keys(path: str) -> set[str]:
    keys = {key for place, keys in PLAIN_KEYS.items() if fnmatchcase(path, place) for key in keys}
    if path.endswith("_dataloader") and "." not in path:
        from torch.utils.data import DataLoader

        keys.update(_parameters(DataLoader))
    return keys


class _Types:
    """Registered types that a part of the config may refer to."""

    def __init__(self, names: tuple[str, ...], scope: str) -> None:
        self.names, self.scope = names, scope

    def inside(self, node: dict) -> _Types:
        """Types for the children of a dict; its ``_scope_`` applies to everything below it."""
        scope = node.get("_scope_")
        return _Types(self.names, scope) if isinstance(scope, str) else self

    def find(self, node: dict, path: str) -> Callable | None:
        """Class of a dict, or None if its type is not registered."""
        kind = node.get("type", DEFAULT_TYPES.get(path))
        if path == "train_cfg" and kind is None:
            return EpochBasedTrainLoop if node.get("by_epoch", True) else IterBasedTrainLoop
        if not isinstance(kind, str):
            return kind if callable(kind) else None
        found = (_look_up(getattr(roots, name), kind, self.scope) for name in self.names)
        return next((one for one in found if one is not None), None)


def _look_up(root: Registry, kind: str, scope: str) -> Callable | None:
    with suppress(ImportError):
        import_module(f"{scope}.registry")
    try:
        return root.children.get(scope, root).get(kind)
    except (KeyError, RuntimeError):
        return None  # building the config will raise


def _parameters(kind: Callable) -> frozenset[str]:
    return _signature(kind)[0]


def _is_closed(kind: Callable) -> bool:
    return not _signature(kind)[1]


@cache
def _signature(kind: Callable) -> tuple[frozenset[str], bool]:
    """Argument names of a class or registered function, and whether it accepts others."""
    if not inspect.isclass(kind):
        named, passes_on = _named(kind)
        return frozenset(named), passes_on
    names: set[str] = set()
    passes_on = True
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        own, passes_on = _named(base.__init__)
        names.update(own)
        if not passes_on:
            break
    return frozenset(names), passes_on or not names


def _named(function: Callable) -> tuple[set[str], bool]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # implemented in C
        return set(), False
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = {each.name for each in parameters if each.kind not in variable}
    passes_on = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    return names - {"self"}, passes_on
