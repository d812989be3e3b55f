import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from torch import nn

from smallvit.analysis.complexity import FLOP_HANDLES, complexity, model_complexity
from smallvit.analysis.fake_data import PUBLISHED_SHAPES, fake_batch, task_of
from smallvit.engine.models import build_model
from smallvit.ops import dynamic_dwconv2d, inhomogeneous_dwconv2d


class Classifier(ImageClassifier):
    """A classifier whose forward pass is a given function."""

    def __init__(self, function):
        nn.Module.__init__(self)
        self.function = function
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return self.function(inputs)


def count(function, shape):
    found = model_complexity(Classifier(function), shape)
    assert not found["uncounted"]
    return found


def test_fused_attention():
    # 8 tokens with 3 channels: 8 * 8 dot products of length 3, twice.
    found = count(lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT] * 3), (2, 4))
    assert found["flops"] == 8 * 8 * 3 * 2
    assert found["params"] == 3


def test_dynamic_convolutions_count_as_static_ones():
    H, W, k = 6, 5, 3
    weight = torch.ones(1, 3, k, k)
    static = count(lambda x: F.conv2d(x, weight.view(3, 1, k, k), padding=1, groups=3), (H, W))
    dynamic = count(lambda x: dynamic_dwconv2d(x, weight), (H, W))
    kernels = torch.ones(1, 1, k * k, H, W)
    inhomogeneous = count(lambda x: inhomogeneous_dwconv2d(x, kernels), (H, W))
    assert static["flops"] == dynamic["flops"] == inhomogeneous["flops"] == 3 * H * W * k * k


def test_unknown_operators_are_reported(monkeypatch):
    monkeypatch.delitem(FLOP_HANDLES, "smallvit::dynamic_dwconv2d")
    weight = torch.ones(1, 3, 3, 3)
    found = model_complexity(Classifier(lambda x: dynamic_dwconv2d(x, weight)), (4, 4))
    assert found["flops"] == 0
    assert found["uncounted"] == {"smallvit::dynamic_dwconv2d": 1}


def test_a_published_classifier():
    # Liu et al. 2021, table 1: 28.3M parameters, 4.5G FLOPs at 224 x 224.
    cfg = dict(
        model=dict(
            type="mmpretrain.ImageClassifier",
            backbone=dict(type="SwinTransformer", arch="tiny"),
            neck=dict(type="GlobalAveragePooling"),
            head=dict(type="LinearClsHead", num_classes=1000, in_channels=768),
            _scope_="mmpretrain",
        )
    )
    found = complexity(cfg, depth=1)
    assert found["shape"] == PUBLISHED_SHAPES["classification"]
    assert found["params"] == pytest.approx(28.3e6, rel=0.005)
    assert found["flops"] == pytest.approx(4.5e9, rel=0.01)
    assert "backbone" in found["table"]


def test_the_model_is_left_as_it_was():
    model = Classifier(lambda x: x).train()
    model_complexity(model, (2, 2))
    assert model.training
    assert model.forward.__func__ is Classifier.forward


def test_other_models_are_refused():
    with pytest.raises(TypeError, match="Linear, which is not a model of mmpretrain, mmdet"):
        task_of(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("config", "task"),
    [("dwnet-mini_digits-det", "detection"), ("dwnet-mini_digits-seg", "segmentation")],
)
def test_fake_data_trains_each_task(config, task):
    from mmengine.config import Config
    from mmengine.registry import DefaultScope, init_default_scope

    from tool_helpers import ROOT

    cfg = Config.fromfile(ROOT / f"configs/dwnet/{config}.py")
    init_default_scope(cfg.default_scope)
    try:
        model = build_model(cfg)
        assert task_of(model) == task
        batch = fake_batch(model, (64, 64), batch_size=2)
        data = model.data_preprocessor(batch, training=True)
        losses = model(**data, mode="loss")
        total, _ = model.parse_losses(losses)
        total.backward()
        assert total.isfinite()
        found = model_complexity(model, (64, 64))
        assert found["task"] == task
        assert found["flops"] > 1e6
    finally:
        DefaultScope._instance_dict.popitem()
