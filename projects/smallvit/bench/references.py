"""Networks that begin with weights from elsewhere: what training from scratch has to beat."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from smallvit.bench.methods import TIMM, Method, parse_method
from smallvit.bench.settings import Settings

#: Part of the recipe's learning rate with which weights are fine-tuned; trials vary it.
FINE_TUNING = 0.1
#: Side of the images that a pretrained network sees, at most, unless those of the bench are larger:
#: some come with 518, where a step costs thirty times as much as at 224.
LARGEST = 224


def timm_name(method: Method) -> str:
    """Tell the name of a method's network in timm.

    Args:
        method (Method): One of timm.

    Returns:
        str: The name, without where its weights come from.
    """
    return method.base.removeprefix(TIMM).partition(":pretrained")[0]


def seen_size(method: Method, size: int) -> int:
    """Tell at which size a method sees the images.

    Args:
        method (Method): Parsed method.
        size (int): Height and width that the networks of the bench see.

    Returns:
        int: The same; for pretrained weights that which they were trained at, at most 224.
    """
    if not method.pretrained:
        return size
    known = _pretraining(method)
    return size if known is None else min(known.input_size[-1], max(LARGEST, size))


def begin_with_weights(cfg: Config, method: Method) -> None:
    """Let a run begin with the weights of a method, normalize as they expect, and go slowly.

    Args:
        cfg (Config): The config of the run, changed in place.
        method (Method): A pretrained one.
    """
    backbone = cfg.model.backbone
    if method.weights == "timm":
        backbone.pretrained = True
    else:
        backbone.init_cfg = dict(type="Pretrained", checkpoint=method.weights)
    known = _pretraining(method)
    if known is not None:
        cfg.data_preprocessor.mean = [255 * each for each in known.mean]
        cfg.data_preprocessor.std = [255 * each for each in known.std]
    if method.probe:
        backbone.frozen = True
    else:
        cfg.optim_wrapper.optimizer.lr *= FINE_TUNING


def without_weights(cfg: Config) -> Config:
    """Let a network that is only measured begin as any other.

    Args:
        cfg (Config): Its config, changed in place.

    Returns:
        Config: The same.
    """
    for key in ("pretrained", "init_cfg"):
        cfg.model.backbone.pop(key, None)
    return cfg


def _pretraining(method: Method) -> Any:
    import timm

    name = timm_name(method)
    return timm.get_pretrained_cfg(name) if timm.is_model(name) else None


def obtain(
    settings: Settings, names: Sequence[str], num_classes: int, report: Callable
) -> dict[str, str]:
    """Load the weights of pretrained methods once, to see whether they can be had.

    Args:
        settings (Settings): Settings of the bench.
        names (Sequence[str]): Methods.
        num_classes (int): Number of classes.
        report (Callable): Unused.

    Returns:
        dict[str, str]: Why those cannot be had whose weights are missing, by method.
    """
    missing = {}
    for name in names:
        try:
            _load(settings, parse_method(name), num_classes)
        except Exception as error:  # of the network, of a file, of timm: all say why
            said = str(error).strip().splitlines() or [type(error).__name__]
            missing[name] = re.sub(r"\s+", " ", said[0])[:300]
    return missing


def _load(settings: Settings, method: Method, num_classes: int) -> None:
    from mmengine.registry import MODELS, init_default_scope

    from smallvit.bench.plan import Run
    from smallvit.bench.recipe import run_config
    from smallvit.engine.install import install

    cfg = run_config(settings, Run(method.name, None, 0, 1, 1), num_classes)
    init_default_scope(cfg.default_scope)
    install(cfg.default_scope)
    backbone = MODELS.build(ConfigDict(cfg.model.backbone, init_cfg=None))
    if method.weights != "timm":
        _require_whole(backbone, method.weights)


def _require_whole(backbone: Any, path: str) -> None:
    """Refuse a file that has not all weights of a network, which would go on with random ones."""
    from smallvit.engine.checkpoint.fit import describe_fit, measure_fit, weights_of
    from smallvit.engine.checkpoint.reading import load_from_local
    from smallvit.engine.pretrained import of_timm
    from smallvit.errors import CheckpointError

    state: Mapping[str, Any] = weights_of(load_from_local(path, map_location="cpu"))
    fit = measure_fit(backbone, of_timm(backbone, dict(state), path))
    if fit.missing or fit.misshapen:
        raise CheckpointError(describe_fit(fit, path))
