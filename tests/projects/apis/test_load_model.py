"""``load_model``: models of any task with the weights and classes of a checkpoint."""

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config

from config_helpers import CONFIGS
from smallvit.apis import load_model
from smallvit.errors import CheckpointError, UserError

IMAGE = np.full((64, 64, 3), 128, np.uint8)


def test_classification(tmp_path):
    config = str(CONFIGS / "dwnet/dwnet-mini_digits.py")
    model = load_model(config)
    assert not model.training
    assert len(model.dataset_meta["classes"]) == 10
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    meta = {"dataset_meta": {"CLASSES": tuple("abcdefghij")}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "weights.pth")
    again = load_model(Config.fromfile(config), tmp_path / "weights.pth", device="cpu")
    assert all(map(torch.equal, again.parameters(), model.parameters()))
    result = mmpretrain.ImageClassificationInferencer(again)(IMAGE)[0]
    assert result["pred_class"] in "abcdefghij"


def test_detection(tmp_path):
    from mmdet.apis import inference_detector

    model = load_model(CONFIGS / "dwnet/dwnet-mini_digits-det.py")
    assert len(model.dataset_meta["classes"]) == 10
    assert "bboxes" in inference_detector(model, IMAGE).pred_instances


def test_segmentation():
    from mmseg.apis import inference_model

    model = load_model(CONFIGS / "dwnet/dwnet-mini_digits-seg.py")
    assert model.dataset_meta["classes"]
    assert inference_model(model, IMAGE).pred_sem_seg.data.shape == (1, 64, 64)


def test_a_folder_config_takes_the_classes_of_its_weights(tmp_path):
    config = Config.fromfile(str(CONFIGS / "dhvt/dhvt-t_folder.py"))
    config.model.backbone.arch = dict(
        embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8
    )
    config.model.head.update(num_classes=2, in_channels=8)
    state = load_model(config).state_dict()
    meta = {"dataset_meta": {"classes": ["cat", "dog"]}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "weights.pth")
    config.model.head.num_classes = 1000
    model = load_model(config, tmp_path / "weights.pth")
    assert model.head.num_classes == 2
    assert model.dataset_meta["classes"] == ["cat", "dog"]


def test_mistakes(tmp_path):
    config = CONFIGS / "dwnet/dwnet-mini_digits.py"
    with pytest.raises(UserError, match="no such config file"):
        load_model(tmp_path / "missing.py")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_model(config, tmp_path / "missing.pth")
    for content in ([1, 2], {"state_dict": 3}):
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match=r"odd\.pth"):
            load_model(config, tmp_path / "odd.pth")
    torch.save({"state_dict": {}}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="missing in the file") as refused:
        load_model(config, tmp_path / "empty.pth")
    assert "--allow-mismatch" not in str(refused.value)
