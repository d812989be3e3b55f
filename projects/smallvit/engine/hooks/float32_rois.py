"""Float32 RoI extraction for detectors trained in mixed precision."""

from __future__ import annotations

import logging
import sys
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from smallvit.registry import HOOKS


@HOOKS.register_module()
class Float32RoIHook(Hook):
    """Run mmdet's RoI extractors in float32 when the rest of the model is autocast.

    mmdet casts the boxes to the dtype of the feature maps. In bfloat16, with 8 bits of
    precision, a box corner at 1,000 pixels moves by up to two pixels, in float16 by up to a
    quarter of one. With float32 feature maps the boxes remain exact.
    """

    def before_run(self, runner: Runner) -> None:
        """Register a hook on every RoI extractor of the model."""
        for extractor in _roi_extractors(runner.model):
            extractor.register_forward_pre_hook(_full_precision_maps)


@HOOKS.register_module()
class ExactRoIHook(Float32RoIHook):
    """Former name of :class:`Float32RoIHook`, for stored configs."""

    def __init__(self) -> None:
        super().__init__()
        print_log(
            "smallvit.ExactRoIHook is smallvit.Float32RoIHook now; the old name will be removed in "
            "the next version",
            logger="current",
            level=logging.WARNING,
        )


def _roi_extractors(model: nn.Module) -> list[nn.Module]:
    # A model that has RoI extractors has imported mmdet already.
    module = sys.modules.get("mmdet.models.roi_heads.roi_extractors")
    if module is None:
        return []
    return [m for m in model.modules() if isinstance(m, module.BaseRoIExtractor)]


def _full_precision_maps(extractor: nn.Module, args: tuple) -> tuple[Any, ...]:
    feats, *rest = args
    return tuple(feat.float() for feat in feats), *rest
