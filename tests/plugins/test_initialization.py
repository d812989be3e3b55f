"""Initializers in configs: order, selection by name, and PyTorch's defaults."""

import math

import pytest
import torch
from mmengine.model import BaseModule, initialize
from torch import nn

import smallvit  # noqa: F401  # registers the scope


class Inner(BaseModule):
    """A network that always initializes itself, as MMPretrain's networks do."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.fc = nn.Linear(64, 64)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4096))
        self.calls = 0

    def init_weights(self):
        super().init_weights()
        self.calls += 1
        if not self.init_cfg:
            nn.init.constant_(self.fc.weight, 7.0)


class Outer(BaseModule):
    def __init__(self, init_cfg, inner_init_cfg=None):
        super().__init__(init_cfg)
        self.backbone = Inner(inner_init_cfg)
        self.neck = Inner()


def final(*steps, modules=("backbone",)):
    return dict(type="smallvit.FinalInit", modules=list(modules), init_cfg=list(steps))


ONES = dict(type="Constant", layer="Linear", val=1.0)


def test_final_init_runs_after_the_given_submodules():
    model = Outer(final(ONES))
    model.init_weights()
    assert (model.backbone.fc.weight == 1).all()
    assert (model.neck.fc.weight == 7).all()
    assert model.backbone.calls == model.neck.calls == 1


def test_without_it_submodules_take_precedence():
    model = Outer(ONES)
    model.init_weights()
    assert (model.backbone.fc.weight == 7).all()


def test_steps_run_in_order():
    model = Outer(final(ONES, dict(type="smallvit.ParameterInit", names=["fc.bias"], std=1.0)))
    model.init_weights()
    assert (model.backbone.fc.weight == 1).all()
    assert model.backbone.fc.bias.std() > 0.5


@pytest.mark.parametrize("as_list", [False, True])
def test_loaded_weights_are_kept(tmp_path, as_list):
    state = {key: torch.full_like(value, 3) for key, value in Inner().state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / "inner.pth")
    pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "inner.pth"))
    model = Outer(final(ONES), [pretrained] if as_list else pretrained)
    model.init_weights()
    assert (model.backbone.fc.weight == 3).all()
    assert (model.neck.fc.weight == 7).all()


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="trunk"):
        Outer(final(ONES, modules=["trunk"])).init_weights()


def test_parameters_are_found_by_the_ends_of_their_names():
    model = Outer(None)
    initialize(model, dict(type="smallvit.ParameterInit", names=["cls_token", "pos_embed"]))
    for inner in (model.backbone, model.neck):
        assert inner.cls_token.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * 4096))


@pytest.mark.parametrize(
    ("distribution", "largest"), [("normal", 4.0), ("trunc_normal", 2.0), ("constant", 0.5)]
)
def test_distributions(distribution, largest):
    torch.manual_seed(0)
    init = dict(type="smallvit.ParameterInit", names="cls_token", mean=0.5, std=1.0)
    inner = Inner()
    initialize(inner, dict(init, distribution=distribution))
    assert inner.cls_token.max() <= largest + 0.5 * (distribution == "normal")
    expected = dict(normal=1.0, trunc_normal=0.83, constant=0.0)[distribution]
    assert inner.cls_token.std().item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (dict(type="smallvit.ParameterInit", names=["token"]), "no parameter.*token"),
        (dict(type="smallvit.ParameterInit", names="fc", distribution="cauchy"), "trunc_normal"),
        (dict(type="smallvit.PyTorchInit", layer="Conv3d"), "no layer Conv3d"),
    ],
)
def test_what_does_not_fit_is_refused(init, message):
    with pytest.raises(ValueError, match=message):
        initialize(Inner(), init)


def test_layers_get_pytorch_s_default_initialization():
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Sequential(nn.Linear(256, 512)), nn.LayerNorm(4))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 9.0)
    initialize(model, dict(type="smallvit.PyTorchInit"))
    for layer, fan_in in ((model[0], 72), (model[1][0], 256)):
        for parameter in layer.parameters():
            bound = 1 / math.sqrt(fan_in)
            assert 0.9 * bound < parameter.abs().max() <= bound
            deviation = bound / math.sqrt(3)
            assert parameter.std().item() == pytest.approx(deviation, rel=0.25)
    assert (model[2].weight == 9).all()
