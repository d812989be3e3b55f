"""Regions of interest under mixed precision."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from smallvit.engine import ExactRoIHook, Float32RoIHook
from smallvit.engine.guards import add_guards

mmdet_extractors = pytest.importorskip("mmdet.models.roi_heads.roi_extractors")


def _extractor():
    return mmdet_extractors.SingleRoIExtractor(
        roi_layer=dict(type="RoIAlign", output_size=1, sampling_ratio=1),
        out_channels=1,
        featmap_strides=[1],
    )


def test_boxes_keep_their_precision_in_bfloat16():
    # One bright column and a box around its center; bfloat16 has a spacing of 4 at this coordinate.
    bright = torch.zeros(1, 1, 4, 600)
    bright[..., 515] = 1
    box = torch.tensor([[0, 515.0, 0, 516.0, 2.0]])
    plain, guarded = _extractor(), nn.Sequential(_extractor())
    Float32RoIHook().before_run(SimpleNamespace(model=guarded))
    maps = (bright.bfloat16(),)
    assert guarded[0](maps, box).item() == 1
    assert plain(maps, box).item() < 1


def test_a_model_without_regions_is_left_alone():
    model = nn.Linear(2, 2)
    Float32RoIHook().before_run(SimpleNamespace(model=model))
    assert not model._forward_pre_hooks


def test_the_former_name_works_and_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(
        "smallvit.engine.hooks.float32_rois.print_log", lambda m, **_: said.append(m)
    )
    assert isinstance(ExactRoIHook(), Float32RoIHook)
    assert "smallvit.Float32RoIHook" in said[0]
    cfg = Config(dict(default_hooks=dict(exact_rois=dict(type="smallvit.ExactRoIHook"))))
    add_guards(cfg)
    kinds = [str(hook["type"]) for hook in cfg.default_hooks.values()]
    assert [kind for kind in kinds if "RoI" in kind] == ["smallvit.ExactRoIHook"]


def test_the_former_key_still_removes_the_hook():
    hook = dict(type="smallvit.Float32RoIHook")
    for hooks in (dict(exact_rois=None), dict(exact_rois=None, float32_rois=hook)):
        cfg = Config(dict(default_hooks=hooks))
        add_guards(cfg)
        assert cfg.default_hooks["float32_rois"] is None
        assert "exact_rois" not in cfg.default_hooks
