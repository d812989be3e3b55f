"""Report of the training data before the first step, and rejection of unusable data."""

import re

import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from smallvit.engine.hooks import DataReportHook
from tool_helpers import load_tool, own_experiment, run_main, write_tiny_config


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_config(tmp_path)


def train(config, capfd, *options):
    argv = (config, "--work-dir", config.parent / "work", "--cfg-options")
    status = run_main(load_tool("train.py").main, *argv, own_experiment(), *options)
    out, err = capfd.readouterr()
    return status, out + err


def test_clean_data_is_reported(tiny, capfd):
    status, log = train(tiny, capfd, "train_cfg.max_epochs=1")
    assert status == 0
    table = log[log.index("(DataReportHook):") : log.index("Epoch(train)")]
    assert "train   trains on 16 images of CustomDataset" in table
    assert "2 classes: bright 8 (rare), dark 8 (rare)" in table
    assert "val     evaluates on 10 images of CustomDataset" in table
    assert "weights no checkpoint (load_from)" in table
    assert (
        "step    4 images (batches of 4 x 1 processes x 1 accumulated), learning rate 0.05" in table
    )
    # MMEngine's checkpoint hook warns about its own file client.
    warned = [line for line in log.splitlines() if "WARNING" in line]
    assert [line for line in warned if not re.search("FileClient|HardDiskBackend", line)] == []


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.head.loss.class_weight=[1.0,2.0,3.0]", "in the order bright, dark"),
        ("train_dataloader.dataset.metainfo.classes=ab", "classes='ab' is a string"),
        (
            "val_dataloader.dataset.pipeline.0.color_type=grayscale",
            "val: data_preprocessor.mean has 3 values, but the pipeline returns images with 1 "
            "channel (",
        ),
    ],
)
def test_implausible_data_is_rejected_before_training(option, message, tiny, capfd):
    status, log = train(tiny, capfd, option)
    assert status == 1
    assert message in log[log.index("\nerror: ") :]
    assert "Epoch(train)" not in log


@pytest.mark.parametrize("color_type", ["grayscale", "unchanged"])
def test_gray_images_are_trained_as_such(color_type, tiny, capfd):
    if color_type == "unchanged":
        for path in (tiny.parent / "data").rglob("*.png"):
            Image.open(path).convert("L").save(path)
    loaders = ("train", "val")
    options = [f"{name}_dataloader.dataset.pipeline.0.color_type={color_type}" for name in loaders]
    normalized = ("data_preprocessor.mean=[127.0]", "data_preprocessor.std=[60.0]")
    channels = "model.backbone.in_channels=1"
    status, log = train(tiny, capfd, "train_cfg.max_epochs=1", *options, *normalized, channels)
    assert status == 0
    assert "accuracy/top1" in log


def test_it_can_be_switched_off(tiny, capfd):
    hook = "default_hooks.data_report"
    options = (f"{hook}.type=smallvit.DataReportHook", f"{hook}.enabled=False")
    status, log = train(tiny, capfd, "train_cfg.max_epochs=1", *options)
    assert status == 0
    assert "(DataReportHook):" not in log


def test_unused_outputs_are_reported(tiny, capfd):
    status, log = train(tiny, capfd, "train_cfg.max_epochs=1", "model.head.num_classes=7")
    assert status == 0
    assert "model.head.num_classes is 7, but the data have 2 classes (bright, dark)" in log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("train_dataloader.batch_size=64", "train_dataloader.drop_last=True"),
            "16 samples, train_dataloader.batch_size=64, drop_last=True",
        ),
        (
            ("default_hooks.checkpoint.save_best=accuracy/top5",),
            "save_best='accuracy/top5' of AtomicCheckpointHook is not a metric of "
            "val_evaluator, which reports accuracy/top1",
        ),
    ],
)
def test_impossible_first_steps_are_rejected(options, message, tiny, capfd):
    if "drop_last" in message:  # iteration-based schedules count iterations
        options += (
            "param_scheduler.type=CosineAnnealingLR",
            "param_scheduler.T_max=2",
            "param_scheduler.convert_to_iter_based=True",
        )
        text = tiny.read_text().replace(", milestones=[1])", ")")
        tiny.write_text(text)
    status, log = train(tiny, capfd, "default_hooks.checkpoint.type=CheckpointHook", *options)
    assert status == 1
    assert message in log[log.index("\nerror: ") :]
    assert "Epoch(train)" not in log


def test_mmengine_s_runner_reads_repaired_coco_files(monkeypatch):
    """MMEngine's runner builds the hooks of our configs before the datasets."""
    from mmdet.datasets import CocoDataset as StockCocoDataset
    from mmdet.registry import DATASETS

    from smallvit.datasets.coco import CocoDataset

    monkeypatch.setitem(DATASETS.module_dict, "CocoDataset", StockCocoDataset)
    for enabled, scope, expected in (
        (False, "mmdet", StockCocoDataset),
        (True, "mmseg", StockCocoDataset),
        (True, "mmdet", CocoDataset),
    ):
        DefaultScope.get_instance(f"foreign {scope} {enabled}", scope_name=scope)
        DataReportHook(enabled=enabled)
        assert DATASETS.get("CocoDataset") is expected
