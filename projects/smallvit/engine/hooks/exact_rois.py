"""Full-precision regions for detectors in mixed precision."""

from __future__ import annotations

import sys
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from smallvit.registry import HOOKS


@HOOKS.register_module()
class ExactRoIHook(Hook):
    """Keep mmdet's RoI extractors in float32 when the rest of the model is autocast.

    mmdet casts the boxes to the type of the feature maps. In bfloat16, with 8 bits of
    precision, the corner of a box at 1,000 pixels moves by up to two, in float16 by up to
    a quarter. With float32 maps the boxes stay as they are.
    """

    def before_run(self, runner: Runner) -> None:
        """Attach to every RoI extractor of the model.

        Args:
            runner (Runner): The runner, its model built.
        """
        for extractor in _roi_extractors(runner.model):
            extractor.register_forward_pre_hook(_full_precision_maps)


def _roi_extractors(model: nn.Module) -> list[nn.Module]:
    # A model that holds one was built by code that imported it.
    module = sys.modules.get("mmdet.models.roi_heads.roi_extractors")
    if module is None:
        return []
    return [m for m in model.modules() if isinstance(m, module.BaseRoIExtractor)]


def _full_precision_maps(extractor: nn.Module, args: tuple) -> tuple[Any, ...]:
    feats, *rest = args
    return tuple(feat.float() for feat in feats), *rest
