"""Digits configs: training, validation and the metrics printed by the quick start."""

import math

import pytest
from mmengine.runner import Runner

from config_helpers import read_config

METRICS = {
    "dwnet/dwnet-mini_digits.py": ["accuracy/top1"],
    "dwnet/dwnet-mini_digits-det.py": ["coco/bbox_mAP_50", "coco/segm_mAP_50"],
    "dwnet/dwnet-mini_digits-seg.py": ["mIoU"],
    "dhvt/dhvt-mini_digits.py": ["accuracy/top1"],
    "dhvt/dhvt-mini_digits-det.py": ["coco/bbox_mAP_50", "coco/segm_mAP_50"],
    "dhvt/dhvt-mini_digits-seg.py": ["mIoU"],
}
#: DHVT's detectors and segmentors use the same code as DWNet's.
STEPS = [
    pytest.param(name, marks=pytest.mark.exhaustive)
    if name.startswith("dhvt") and name.endswith(("-det.py", "-seg.py"))
    else name
    for name in METRICS
]


def point_at(node, root):
    """Replace the data root everywhere in a config, in place."""
    for key, value in list(node.items()):
        if isinstance(value, dict):
            point_at(value, root)
        elif isinstance(value, str) and value.startswith("data/digit_scenes/"):
            node[key] = value.replace("data/digit_scenes", str(root))


def one_step(cfg):
    cfg.train_dataloader.batch_size = 8
    if "Digits" in cfg.train_dataloader.dataset.type:
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.indices = 8
    if cfg.train_cfg.get("type") == "IterBasedTrainLoop":
        cfg.train_cfg.update(max_iters=1, val_interval=1)
    else:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = []
    cfg.default_hooks.logger.interval = 1
    # The default is the time in seconds, which would be the same for two fast tests.
    cfg.experiment_name = cfg.filename


@pytest.mark.parametrize("name", STEPS)
def test_takes_a_step_and_reports_its_metrics(name, digit_scenes, tmp_path):
    cfg = read_config(name)
    point_at(cfg, digit_scenes)
    one_step(cfg)
    cfg.work_dir = str(tmp_path)
    runner = Runner.from_cfg(cfg)
    before = {key: value.clone() for key, value in runner.model.named_parameters()}
    runner.train()
    moved = [key for key, value in runner.model.named_parameters() if (value != before[key]).any()]
    assert len(moved) > 0.5 * len(before)
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert all(math.isfinite(loss) for loss in losses)
    reported = runner.test()
    assert set(METRICS[name]) <= set(reported)
    assert len(list(tmp_path.glob("best_*.pth"))) == 1


def test_final_accuracy_is_measured_on_held_out_images():
    cfg = read_config("dwnet/dwnet-mini_digits.py")
    splits = [cfg[f"{part}_dataloader"].dataset.split for part in ("train", "val", "test")]
    assert splits == ["train", "val", "test"]


def test_segmentation_counts_the_background_as_a_class(digit_scenes):
    cfg = read_config("dwnet/dwnet-mini_digits-seg.py")
    dataset = cfg.val_dataloader.dataset
    assert dataset.metainfo.classes[:2] == ("background", "0")
    assert len(dataset.metainfo.classes) == cfg.model.decode_head.num_classes == 11
    assert len({tuple(color) for color in dataset.metainfo.palette}) == 11


def test_digits_are_never_flipped():
    for name in METRICS:
        pipeline = read_config(name).train_dataloader.dataset.pipeline
        assert not [step.type for step in pipeline if "Flip" in step.type]
