"""Model zoo: models by name, also through MMPretrain's API."""

import mmpretrain
import pytest
import torch

import smallvit
from config_helpers import LEAVES, read_config
from smallvit.apis.zoo import task_of
from smallvit.errors import UserError

NAMES = [name for name in LEAVES if not name.startswith("bench/")]
SCOPES = {"classification": "mmpretrain", "detection": "mmdet", "segmentation": "mmseg"}


def test_every_config_has_a_name_of_its_own():
    names = smallvit.list_models()
    assert len(names) == len(NAMES)
    assert names == sorted(name.split("/")[1].removesuffix(".py") for name in NAMES)


@pytest.mark.parametrize("name", LEAVES)
def test_names_contain_the_task(name):
    found = task_of(name.split("/")[1].removesuffix(".py"))
    assert SCOPES[found] == read_config(name).default_scope


def test_patterns_and_tasks():
    assert smallvit.list_models("dhvt-*", task="segmentation") == [
        "dhvt-mini_digits-seg",
        "dhvt-s_ade20k",
        "dhvt-t_ade20k",
        "dhvt-t_custom-masks",
    ]
    with pytest.raises(UserError, match="classification, detection, segmentation"):
        smallvit.list_models(task="depth")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("dhvt-mini_digits", 32),
        ("vit-mini_shortcut_digits", 32),
        ("dvt-mini_digits", 32),
        ("dwnet-mini_digits", 32),
    ],
)
def test_classes_and_channels_follow_the_arguments(name, size):
    model = smallvit.get_model(name, num_classes=3, in_channels=1)
    scores = model(torch.zeros(2, 1, size, size))
    scores = scores[-1] if isinstance(scores, (list, tuple)) else scores
    assert scores.shape == (2, 3)
    assert model.data_preprocessor.mean.numel() == 1


def test_detectors_and_segmentors():
    detector = smallvit.get_model("dwnet-mini_digits-det", num_classes=2)
    assert detector.roi_head.bbox_head.num_classes == 2
    assert detector.roi_head.mask_head.num_classes == 2
    segmentor = smallvit.get_model("dwnet-mini_digits-seg", num_classes=4)
    assert segmentor.decode_head.num_classes == segmentor.auxiliary_head.num_classes == 4


def test_weights_of_a_checkpoint(tmp_path):
    model = smallvit.get_model("vit-mini_digits")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "own.pth")
    again = smallvit.get_model("vit-mini_digits", pretrained=tmp_path / "own.pth")
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UserError, match=r"Did you mean .*dhvt-t_in1k"):
        smallvit.get_model("dhvt-t_in1")


def test_models_are_in_mmpretrain_s_list():
    """compat/test_mmcv_ext.py tests that importing smallvit remains lightweight."""
    assert "dhvt-t_in1k" in mmpretrain.list_models("*dhvt*")
    assert "resnet18_8xb32_in1k" in mmpretrain.list_models()
    model = mmpretrain.get_model("dhvt-t-p4_cifar100")
    assert type(model.backbone).__module__.startswith("smallvit")
