"""The DWNet converter: exact round trips, and strict about keys."""

from pathlib import Path

import pytest
import torch

from goldens import load_golden, reference_state
from smallvit.converters import (
    ConversionError,
    convert,
    get_system,
    identify,
    official_models,
    revert,
)

GOLDENS = {
    "dwnet_tiny_static": ("static", ["dwnet_tiny_patch4_window7_224"]),
    "dwnet_tiny_dynamic": ("dynamic", ["dynamic_dwnet_tiny_patch4_window7_224"]),
    "dwnet_tiny_inhomogeneous": ("inhomogeneous", ["i_dynamic_dwnet_tiny_patch4_window7_224"]),
    "dwnet_tiny_static_multiscale": ("static-backbone", []),
    "dwnet_tiny_dynamic_multiscale": ("dynamic-backbone", []),
}


def shapes(name):
    """Tensors of the right shapes; their values do not matter in most tests."""
    return {
        key: torch.empty(shape, device="meta")
        for key, shape, _, _ in load_golden(name)["state_dict"]
    }


def detector(name="dwnet_tiny_static_multiscale", parts=("neck", "rpn_head", "roi_head")):
    state = {f"backbone.{key}": value for key, value in shapes(name).items()}
    state |= {f"{part}.convs.0.weight": torch.empty(2) for part in parts}
    return state


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


@pytest.mark.parametrize(("name", "expected"), GOLDENS.items())
def test_round_trip_is_exact(name, expected):
    official = shapes(name)
    ours = convert("dwnet", official)
    back = revert("dwnet", ours)
    assert set(back) == set(official)
    assert all(back[key] is official[key] for key in official)
    key_map, names = identify("dwnet", official)
    assert (key_map.name, names) == expected
    assert all(key.startswith(("backbone.", "head.")) for key in ours)


def test_the_number_of_classes_is_the_checkpoint_s():
    state = shapes("dwnet_tiny_static")
    state["head.weight"], state["head.bias"] = torch.ones(7, 768), torch.ones(7)
    ours = convert("dwnet", state)
    assert ours["head.fc.weight"].shape == (7, 768)
    assert identify("dwnet", state)[0].classes == "head.fc.weight"


@pytest.mark.parametrize(
    "lost",
    [
        "patch_embed.proj.bias",
        "layers.2.blocks.3.bn.running_var",
        "layers.2.downsample.reduction.weight",
        "layers.3.blocks.1.attn2conv.conv.conv2.weight",
        "head.weight",
        "norm.bias",
    ],
)
def test_missing_key_is_named(lost):
    with pytest.raises(ConversionError, match=r"1 missing keys") as error:
        convert("dwnet", without(shapes("dwnet_tiny_dynamic"), lost))
    assert error.value.missing_keys == [lost]
    assert error.value.unknown_keys == []
    assert lost in str(error.value)


def test_missing_block_stage_and_merging_are_noticed():
    state = shapes("dwnet_tiny_static")
    for lost in ("layers.2.blocks.2.", "layers.1.", "layers.2.downsample."):
        rest = {key: value for key, value in state.items() if not key.startswith(lost)}
        with pytest.raises(ConversionError) as error:
            convert("dwnet", rest)
        assert error.value.missing_keys
        assert all(key.startswith(lost) for key in error.value.missing_keys)


def test_missing_output_norm_is_noticed():
    state = shapes("dwnet_tiny_static_multiscale")
    rest = {key: value for key, value in state.items() if not key.startswith("norm3.")}
    with pytest.raises(ConversionError, match=r"norm3\.running_mean"):
        convert("dwnet", rest)


def test_unknown_key_is_named():
    state = shapes("dwnet_tiny_static") | {"layers.0.blocks.0.attn.qkv.weight": torch.ones(1)}
    with pytest.raises(ConversionError, match="unknown") as error:
        convert("dwnet", state)
    assert error.value.unknown_keys == ["layers.0.blocks.0.attn.qkv.weight"]
    assert "layers.0.blocks.0.attn.qkv.weight" in str(error.value)


def test_ours_is_not_mistaken_for_official():
    with pytest.raises(ConversionError, match="unknown"):
        convert("dwnet", convert("dwnet", shapes("dwnet_tiny_static")))


def test_position_embedding_of_both_layouts():
    tokens = torch.arange(2 * 9.0).reshape(1, 9, 2)
    state = shapes("dwnet_tiny_static") | {"absolute_pos_embed": tokens}
    ours = convert("dwnet", state)
    table = ours["backbone.absolute_pos_embed"]
    assert table.shape == (1, 2, 3, 3)
    assert table[0, :, 1, 2].tolist() == tokens[0, 5].tolist()
    assert torch.equal(revert("dwnet", ours)["absolute_pos_embed"], tokens)
    state = shapes("dwnet_tiny_static_multiscale") | {"absolute_pos_embed": table}
    assert convert("dwnet", state)["backbone.absolute_pos_embed"] is table


class TestDenseCheckpoints:
    def test_detector(self):
        state = detector()
        ours = convert("dwnet", state)
        assert ours["neck.convs.0.weight"] is state["neck.convs.0.weight"]
        assert "backbone.stages.0.blocks.0.mixer.proj_in.weight" in ours
        assert set(revert("dwnet", ours)) == set(state)
        key_map, names = identify("dwnet", state)
        assert key_map.name == "static-detector"
        assert [n.split("_mstrain")[0] for n in names] == [
            "cascade_mask_rcnn_dwnet_tiny_patch4_window7"
        ]

    def test_segmentor(self):
        state = detector(parts=("decode_head", "auxiliary_head"))
        assert identify("dwnet", state)[1] == [
            "upernet_dwnet_tiny_patch4_window7_512x512_160k_ade20k"
        ]
        assert set(revert("dwnet", convert("dwnet", state))) == set(state)

    def test_detector_without_neck(self):
        with pytest.raises(ConversionError, match=r"neck\.\*"):
            convert("dwnet", detector(parts=("rpn_head", "roi_head")))


def test_wrapped_checkpoints_are_opened():
    state = shapes("dwnet_tiny_static")
    expected = set(convert("dwnet", state))
    parallel = {f"module.{key}": value for key, value in state.items()}
    for checkpoint in (
        {"model": state, "epoch": 3},
        {"state_dict": state},
        {"model_state": state},
        {"state_dict": parallel},
    ):
        assert set(convert("dwnet", checkpoint)) == expected


@pytest.mark.parametrize("checkpoint", [{"epoch": 3, "lr": 0.1}, {}, [1, 2]])
def test_files_without_weights_are_rejected(checkpoint):
    with pytest.raises(ConversionError, match="not a state dict"):
        convert("dwnet", checkpoint)


def test_unknown_system_is_named():
    with pytest.raises(KeyError, match=r"dwnett.*known systems.*dwnet"):
        convert("dwnett", {})


def test_official_models():
    models = {name: m for name, m in official_models().items() if m.system == "dwnet"}
    assert len(models) == 14
    for name in ("dwnet_base", "dynamic_dwnet_tiny", "i_dynamic_dwnet_base"):
        record = models[f"{name}_patch4_window7_224"]
        assert record["system"] == record.system == "dwnet"
        assert record["config"] == record.config
    for record in models.values():
        assert Path(record.config).is_absolute()
        assert Path(record.config).is_file()
        assert record.architecture in get_system("dwnet").architectures
    with pytest.raises(KeyError, match=r"weights.*config"):
        models["dwnet_base_patch4_window7_224"]["weights"]


def test_weights_are_assigned_to_the_right_parameters():
    official = reference_state(load_golden("dwnet_tiny_inhomogeneous"))
    ours = convert("dwnet", official)
    here = "backbone.stages.2.blocks.5"
    there = "layers.2.blocks.5"
    for our_key, official_key in {
        f"{here}.mixer.conv.expand.weight": f"{there}.attn2conv.conv.conv2.0.weight",
        f"{here}.mixer.norm_conv.running_mean": f"{there}.attn2conv.bn.running_mean",
        f"{here}.mlp.fc2.bias": f"{there}.mlp.fc2.bias",
        "backbone.norm.weight": "norm.weight",
        "head.fc.bias": "head.bias",
    }.items():
        assert torch.equal(ours[our_key], official[official_key])
