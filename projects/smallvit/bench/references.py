"""Pretrained networks as references for training from scratch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from smallvit.bench.methods import TIMM, Method, parse_method
from smallvit.bench.settings import BenchSettings
from smallvit.errors import UserError

#: Factor on the recipe's learning rate for fine-tuning; trials vary it.
FINE_TUNING = 0.1
#: Maximum input size of a pretrained network, unless the images of the bench are larger: some
#: were trained at 518, where a step takes thirty times as long as at 224.
LARGEST = 224


def timm_name(method: Method) -> str:
    """Get the timm name of a method's network.

    Args:
        method (Method): Method with a network of timm.

    Returns:
        str: Name of the model, without the suffix for weights.
    """
    return method.base.removeprefix(TIMM).partition(":pretrained")[0]


def check_timm(method: Method) -> None:
    """Check that timm knows the network of a method.

    Args:
        method (Method): Parsed method.

    Raises:
        UserError: If it does not.
    """
    if not method.base.startswith(TIMM):
        return
    import timm

    name = timm_name(method)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UserError(
            f"--methods {method.name}: timm {timm.__version__} has no model {name!r}{hint}"
        )


def seen_size(method: Method, size: int) -> int:
    """Get the input size of a method.

    Args:
        method (Method): Parsed method.
        size (int): Height and width of the images in the bench.

    Returns:
        int: ``size``; for pretrained weights the size at which they were trained, limited to the
        larger of 224 and ``size``.
    """
    if not method.pretrained:
        return size
    known = _pretraining(method)
    return size if known is None else min(known.input_size[-1], max(LARGEST, size))


def begin_with_weights(cfg: Config, method: Method) -> None:
    """Configure a run for pretrained weights: initialization, normalization and learning rate.

    Args:
        cfg (Config): Config of the run, changed in place.
        method (Method): Method with pretrained weights.
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
    """Remove pretrained weights from the config of a network that is only measured.

    Args:
        cfg (Config): Config of the network, changed in place.

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
    settings: BenchSettings, names: Sequence[str], num_classes: int, report: Callable
) -> dict[str, str]:
    """Load the weights of pretrained methods once to check that they are available.

    Args:
        settings (BenchSettings): Settings of the bench.
        names (Sequence[str]): Names of the methods.
        num_classes (int): Number of classes.
        report (Callable): Unused.

    Returns:
        dict[str, str]: Reasons why weights are unavailable, by method.
    """
    missing = {}
    for name in names:
        try:
            _load(settings, parse_method(name), num_classes)
        except Exception as error:  # network, file or timm: the message contains the reason
            said = str(error).strip().splitlines() or [type(error).__name__]
            missing[name] = re.sub(r"\s+", " ", said[0])[:300]
    return missing


def _load(settings: BenchSettings, method: Method, num_classes: int) -> None:
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
    """Raise an error if a file lacks weights of the network, which would stay random."""
    from smallvit.engine.checkpoint.fit import describe_fit, measure_fit, weights_of
    from smallvit.engine.checkpoint.reading import load_from_local
    from smallvit.engine.pretrained import of_timm
    from smallvit.errors import CheckpointError

    state: Mapping[str, Any] = weights_of(load_from_local(path, map_location="cpu"))
    fit = measure_fit(backbone, of_timm(backbone, dict(state), path))
    if fit.missing or fit.misshapen:
        raise CheckpointError(describe_fit(fit, path))
