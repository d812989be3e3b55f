"""A label outside the classes is named before anything is trained or tested on it."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset

from config_helpers import build
from smallvit.datasets import Digits, Subset
from smallvit.datasets.labels import check_labels
from smallvit.errors import LabelError
from tool_helpers import load_tool, own_experiment, run_main, write_tiny_config


def model(count):
    return SimpleNamespace(head=SimpleNamespace(num_classes=count))


@pytest.fixture
def listed(tmp_path):
    def make(*lines):
        path = tmp_path / "train.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return CustomDataset(data_root=str(tmp_path), ann_file="train.txt")

    return make


@pytest.mark.parametrize("label", [2, 7, -1])
def test_the_list_and_the_image_are_named(listed, label):
    dataset = listed("a.jpg 0", f"b.jpg {label}", "c.jpg 1", "d.jpg 9")
    message = (
        rf"train\.txt: label {label} of .*/b\.jpg \(and 1 more\) is outside .* 2 classes, 0 to 1"
    )
    with pytest.raises(LabelError, match=message):
        check_labels(dataset, model(2))


def test_labels_inside_pass(listed):
    check_labels(listed("a.jpg 0", "b.jpg 1"), model(2))
    check_labels(Digits(), model(10))


def test_wrappers_are_looked_into():
    with pytest.raises(LabelError, match=r"Digits: label 9 of sklearn-digits/"):
        check_labels(Subset(Digits(), samples_per_class=1), model(9))


def test_what_is_no_classification_is_passed_over(listed):
    class Boxes:
        def __len__(self):
            return 1

        def get_data_info(self, index):
            return {"img_path": "a.jpg", "instances": [{"bbox_label": 90}]}

    check_labels(Boxes(), model(2))
    check_labels(listed("a.jpg 5"), SimpleNamespace(backbone=None))
    check_labels([1, 2, 3], model(2))


@pytest.mark.parametrize("tool", ["train.py", "test.py"])
def test_the_tools_refuse_it(tool, tmp_path, capfd):
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
    assert "outside the model's 2 classes" in message
    assert "Traceback" not in message
