import copy
import importlib
import json

import pytest
import torch
from torch import nn

from smallvit.registry import MODELS
from tool_helpers import load_tool, run_main

tool = load_tool("analysis_tools/benchmark_backbones.py")
plain_formulations = importlib.import_module("plain_formulations")  # next to the tool
QUICK = ("--batch", 1, "--rounds", 2, "--seconds", 0.001)
TINY_CVT = dict(
    embed_dims=(8, 16),
    depths=(1, 1),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    kernel_sizes=(7, 3),
    strides=(4, 2),
    paddings=(2, 1),
)
TINY_PVT = dict(
    embed_dims=(8, 16),
    depths=(1, 1),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    sr_ratios=(2, 1),
    patch_sizes=(4, 2),
)
PLAIN = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
DWNET = dict(embed_dims=8, depths=(1, 1), group_channels=(2, 2))
TIMM_PVT = dict(embed_dims=(8, 16), depths=(1, 1), num_heads=(1, 2), mlp_ratios=(2, 2))
CASCADE = [dict(type="smallvit.T2TViT", arch=PLAIN, token_grid=grid) for grid in (7, 10)]
BACKBONES = [
    dict(type="DHVT", arch=PLAIN, patch_size=4, img_size=32),
    dict(type="DWConvShortcut", host="smallvit.CaiT", arch=PLAIN | dict(num_cls_layers=1)),
    dict(type="CvT", arch=TINY_CVT),
    dict(type="PVT", arch=TINY_PVT, img_size=32),
    dict(type="CifarResNet", depth=8),
    *(dict(type="DWNet", arch=DWNET, conv=conv) for conv in ("dynamic", "inhomogeneous")),
    dict(type="TimmBackbone", model_name="pvt_v2_b0", sr_ratios=(2, 1), **TIMM_PVT),
    dict(
        type="TimmBackbone",
        model_name="convit_tiny",
        img_size=32,
        patch_size=8,
        embed_dim=4,
        num_heads=4,
        depth=2,
        local_up_to_layer=1,
    ),
    dict(type="DynamicViT", exits=CASCADE),
]


@pytest.mark.parametrize("cfg", BACKBONES, ids=lambda cfg: cfg["type"])
def test_both_forms_are_the_same_function(cfg):
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg, type=f"smallvit.{cfg['type']}")).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    plain = plain_formulations.plain_copy(model)
    images = torch.randn(2, 3, 32, 32)
    if cfg["type"] == "DynamicViT":
        images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert tool.difference(model(images), plain(images)) < 1e-5


def test_every_form_belongs_to_a_class():
    """A renamed class or method would otherwise be compared with itself."""
    for name, forms in plain_formulations._FORMS.items():
        module, _, kind = name.rpartition(".")
        found = getattr(__import__(module, fromlist=[kind]), kind)
        assert all(hasattr(found, method) for method in forms), name


def test_attention_is_made_explicitly(monkeypatch):
    model = MODELS.build(dict(type="smallvit.DHVT", arch=PLAIN, patch_size=4)).eval()
    plain = plain_formulations.plain_copy(model)
    called = []
    original = nn.functional.scaled_dot_product_attention
    for attention in (layer.attn for layer in model.layers):
        attention.scaled_dot_product_attention = lambda *args, **kwargs: (
            called.append(1) or original(*args, **kwargs)
        )
    plain(torch.randn(1, 3, 16, 16))
    assert not called
    assert plain.layers[0].attn.scaled_dot_product_attention.__name__ == "explicit_attention"


def test_report_and_file(tmp_path, capsys):
    file = tmp_path / "result.json"
    threads = torch.get_num_threads()
    try:
        argv = ("--only", "ResNet-56|DHVT-T/4", *QUICK, "--size", 16)
        argv += ("--threads", 1, "--json", file)
        assert run_main(tool.main, *argv) == 0
    finally:
        torch.set_num_threads(threads)
    written = json.loads(file.read_text())
    assert [each["name"] for each in written["results"]] == ["DHVT-T/4", "ResNet-56"]
    for result in written["results"]:
        assert result["difference"] < 1e-5
        assert set(result["images_per_second"]) == {"ours", "plain", "bfloat16"}
        for key in ("over_plain", "bfloat16_over_float32"):
            ratio = result[key]
            assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    medians = [each["over_plain"]["median"] for each in written["results"]]
    assert written["means"]["over_plain"] == pytest.approx((medians[0] * medians[1]) ** 0.5)
    assert "geometric mean over plain" in capsys.readouterr().out


def test_a_wrong_form_is_named(monkeypatch, capsys):
    def wrong(model):
        other = copy.deepcopy(model)
        other.head.fc.bias.data += 1
        return other

    monkeypatch.setattr(plain_formulations, "plain_copy", wrong)
    argv = ("--only", "ResNet-56", *QUICK, "--dtype", "float32")
    assert run_main(tool.main, *argv, "--threads", torch.get_num_threads()) == 1
    assert "differ for ResNet-56" in capsys.readouterr().err


def test_mistakes(capsys):
    assert run_main(tool.main, "--rounds", 0) == 2
    assert run_main(tool.main, "--only", "VGG") == 1
    assert "--only VGG: no architecture is called so" in capsys.readouterr().err


def test_configs_exist():
    assert all((tool.CONFIGS / config).is_file() for _, config, _ in tool.ARCHITECTURES)
