"""Merging of parameter groups with equal settings."""

from copy import deepcopy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from smallvit.engine.parameter_groups import merge_groups

PARAMWISE = dict(norm_decay_mult=0.0, custom_keys={"head": dict(lr_mult=10.0)})


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(7, 9), nn.LayerNorm(9), nn.Linear(9, 9), nn.LayerNorm(9)]
    model = nn.Sequential(*layers)
    model.add_module("head", nn.Linear(9, 3))
    model[2].bias.requires_grad = False
    return model


def wrap(model, merged=True, paramwise=PARAMWISE, **optimizer):
    optimizer = {"type": "AdamW", "lr": 1e-2, "weight_decay": 0.1, **optimizer}
    cfg = dict(optimizer=optimizer, paramwise_cfg=paramwise)
    if merged:
        cfg["constructor"] = "smallvit.MergedGroupsConstructor"
    return build_optim_wrapper(model, cfg)


def give_gradients(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=generator)


def settings(wrapper):
    """Return learning rate and weight decay of each parameter."""
    return {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }


def test_groups_of_equal_settings_become_one():
    model = network()
    merged, single = wrap(model), wrap(model, merged=False)
    assert len(single.optimizer.param_groups) == 9
    assert len(merged.optimizer.param_groups) == 3
    assert settings(merged) == settings(single)
    assert merged.optimizer.param_groups[1]["param_names"] == [
        *("1.weight", "1.bias", "3.weight", "3.bias")
    ]


def test_groups_with_additional_keys_are_not_merged():
    model = nn.Sequential(nn.Linear(2, 2))
    groups = [dict(params=[model[0].weight], betas=(0.9, 0.9)), dict(params=[model[0].bias])]
    assert len(merge_groups(groups, model)) == 2


@pytest.mark.parametrize(
    "optimizer",
    [dict(), dict(type="Adam", weight_decay=0.0), dict(type="SGD", momentum=0.9, nesterov=True)],
    ids=["AdamW", "Adam", "SGD"],
)
def test_steps_are_those_of_single_groups(optimizer):
    models = [network(), network()]
    wrappers = [
        wrap(model, merged, **optimizer) for model, merged in zip(models, (1, 0), strict=True)
    ]
    assert wrappers[0].optimizer.defaults["fused"] is True
    for step in range(3):
        before = [parameter.detach().clone() for parameter in models[1].parameters()]
        for model, wrapper in zip(models, wrappers, strict=True):
            give_gradients(model, step)
            wrapper.optimizer.step()
        for old, one, other in zip(before, *(m.parameters() for m in models), strict=True):
            # Two units in the last place of the accumulated values.
            size = torch.maximum(old.abs(), (other - old).abs()).clamp(min=1e-2)
            unit = torch.nextafter(size, torch.tensor(torch.inf)) - size
            assert ((one - other).abs() <= 2 * (step + 1) * unit).all()


@pytest.mark.parametrize(
    ("optimizer", "fused"),
    [
        (dict(foreach=True), None),
        (dict(fused=False), True),
        (dict(type="RMSprop"), None),
        (dict(capturable=True), None),
    ],
)
def test_the_implementation_of_the_config_is_kept(optimizer, fused):
    assert wrap(network(), **optimizer).optimizer.defaults.get("fused") == fused


def test_without_settings_of_single_parameters_there_is_one_group():
    wrapper = wrap(network(), paramwise=None)
    assert len(wrapper.optimizer.param_groups) == 1
    assert wrapper.optimizer.defaults["fused"] is True


def test_layer_wise_decay_keeps_its_rates():
    from mmpretrain.models import VisionTransformer

    arch = dict(embed_dims=8, num_layers=3, num_heads=2, feedforward_channels=16)
    model = nn.Module()
    model.backbone = VisionTransformer(arch, img_size=32)
    model.get_layer_depth = lambda name: model.backbone.get_layer_depth(name, "backbone.")
    kind = "mmpretrain.LearningRateDecayOptimWrapperConstructor"
    paramwise = dict(layer_decay_rate=0.5, flat_decay_mult=0.0)
    merged = wrap(model, paramwise=dict(constructor=kind, **paramwise))
    cfg = dict(optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.1), constructor=kind)
    single = build_optim_wrapper(model, deepcopy(dict(cfg, paramwise_cfg=paramwise)))
    assert settings(merged) == settings(single)
    # Each of five layers with and without weight decay; the last one only has norms.
    assert len(merged.optimizer.param_groups) < 11 < len(single.optimizer.param_groups)
