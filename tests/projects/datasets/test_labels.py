"""Labels outside the class range: rejected before training and testing."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmpretrain.datasets import CustomDataset, MultiLabelDataset

from config_helpers import build
from smallvit.datasets import Digits, Subset
from smallvit.datasets.describe import describe
from smallvit.datasets.labels import check_labels, count_labels, read_labels
from smallvit.errors import LabelError
from tool_helpers import load_tool, own_experiment, run_main, write_tiny_config


def faults(dataset, count):
    return [fault for usage in describe(dataset, "train", count) for fault in usage.faults]


@pytest.fixture
def listed(tmp_path):
    def make(*lines):
        path = tmp_path / "train.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return CustomDataset(data_root=str(tmp_path), ann_file="train.txt")

    return make


@pytest.mark.parametrize("label", [2, 7, -1])
def test_the_list_and_the_image_are_named(listed, label):
    (fault,) = faults(listed("a.jpg 0", f"b.jpg {label}", "c.jpg 1", "d.jpg 9"), 2)
    assert isinstance(fault, LabelError)
    message = (
        rf"train\.txt: label {label} of .*/b\.jpg \(and 1 more\) is outside .* 2 classes, 0 to 1"
    )
    assert re.search(message, str(fault))


def test_labels_outside_of_the_model_s_classes(listed):
    model = SimpleNamespace(head=SimpleNamespace(num_classes=2))
    with pytest.raises(
        LabelError, match=r"label 5 of .*b\.jpg is outside of the model's 2 classes"
    ):
        check_labels(listed("a.jpg 0", "b.jpg 5"), model)
    check_labels(listed("a.jpg 0", "b.jpg 1"), model)
    check_labels(listed("a.jpg 5"), SimpleNamespace(backbone=None))


def test_one_of_several_labels(tmp_path):
    (tmp_path / "train.json").write_text(
        json.dumps(
            dict(
                metainfo=dict(classes=["a", "b", "c"]),
                data_list=[
                    dict(img_path="1.jpg", gt_label=[0, 2]),
                    dict(img_path="2.jpg", gt_label=[]),
                    dict(img_path="3.jpg", gt_label=[1, 3]),
                ],
            )
        )
    )
    dataset = MultiLabelDataset(ann_file=str(tmp_path / "train.json"))
    (fault,) = faults(dataset, 3)
    assert "label 3 of 3.jpg is outside of the model's 3 classes" in str(fault)
    assert faults(dataset, 4) == []
    counts = count_labels(read_labels(dataset), dataset.metainfo["classes"])
    assert counts == {"a": 1, "b": 1, "c": 1, "3": 1}


def test_labels_inside_pass(listed):
    assert faults(listed("a.jpg 0", "b.jpg 1"), 2) == []
    assert faults(Digits(), 10) == []
    (usage,) = describe(listed("a.jpg 0", "b.jpg 2", "c.jpg 2"), "train", 3)
    assert usage.counts == {"0": 1, "2": 2}


def test_wrapped_datasets_are_checked():
    (fault,) = faults(Subset(Digits(), samples_per_class=1), 9)
    assert "label 9 of sklearn-digits/" in str(fault)
    assert faults(ConcatDataset([Digits(), Digits()]), 10) == []
    assert len(faults(ConcatDataset([Digits(), Digits()]), 9)) == 2


def test_other_tasks_are_ignored(listed):
    class Boxes:
        def __len__(self):
            return 1

        def get_data_info(self, index):
            return {"img_path": "a.jpg", "instances": [{"bbox_label": 90}]}

    assert faults(Boxes(), 2) == []
    assert faults(listed("a.jpg 5"), None) == []
    assert faults([1, 2, 3], 2) == []


@pytest.mark.parametrize("tool", ["train.py", "test.py"])
def test_the_tools_reject_invalid_labels(tool, tmp_path, capfd):
    config = write_tiny_config(tmp_path)
    data = tmp_path / "data"
    for split in ("train", "test"):
        names = sorted(path.relative_to(data / split) for path in (data / split).glob("*/*.png"))
        lines = [f"{name} {number % 3}\n" for number, name in enumerate(names)]
        (data / f"{split}.txt").write_text("".join(lines))
    checkpoint = []
    part = tool.removesuffix(".py")
    if part == "test":
        checkpoint = [tmp_path / "model.pth"]
        torch.save({"state_dict": build(Config.fromfile(config)).state_dict()}, *checkpoint)
    options = (f"{part}_dataloader.dataset.ann_file={part}.txt", own_experiment())
    argv = (config, *checkpoint, "--work-dir", tmp_path / "work", "--cfg-options", *options)
    assert run_main(load_tool(tool).main, *argv) == 1
    message = capfd.readouterr().err
    assert f"{part}.txt: label 2 of" in message
    assert "outside of the model's 2 classes" in message
    assert "Traceback" not in message
