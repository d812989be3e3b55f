"""Detection and segmentation in the bench: dataset recognition and run configs."""

import argparse
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from smallvit.bench.asked import check_samples, make_settings
from smallvit.bench.hooks import BoxesOnly
from smallvit.bench.looking import look
from smallvit.bench.measuring import fit, measure
from smallvit.bench.methods import parse_method
from smallvit.bench.plan import Run, evaluations
from smallvit.bench.recipe import run_config
from smallvit.bench.sizes import step_of, width_of
from smallvit.bench.tasks import DENSE_METHODS, TASKS, check_method
from smallvit.engine.config_files import read_config
from smallvit.engine.models import build_model
from smallvit.errors import DataError, UserError


def write_boxes(folder, objects=1):
    """Write six training and two validation images with boxes of one class, without masks."""
    for split, count in (("train", 6), ("val", 2)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            cv2.imwrite(str(folder / split / f"{number}.png"), np.zeros((64, 64, 3), np.uint8))
            images.append(dict(id=number, file_name=f"{number}.png", height=64, width=64))
            box = dict(bbox=[8, 8, 20, 20], area=400, iscrowd=0)
            for _ in range(objects):
                label = dict(id=len(annotations) + 1, image_id=number, category_id=1)
                annotations.append(dict(**label, **box))
        content = dict(images=images, annotations=annotations, categories=[dict(id=1, name="cell")])
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder / "train.json"


def write_maps(folder, classes=3):
    for kind in ("images", "annotations"):
        for split, count in (("training", 6), ("validation", 2)):
            (folder / kind / split).mkdir(parents=True)
            for number in range(count):
                picture = np.zeros((64, 64), np.uint8)
                picture[:, : 8 * (number + 1)] = 1
                picture[:4] = classes - 1
                cv2.imwrite(str(folder / kind / split / f"{number}.png"), picture)
    return folder


def asked(**changes):
    known = dict(
        **dict(iters=40, epochs=None, budget_minutes=None, params=None, flops=None),
        **dict(as_published=False, data="data", batch_size=None, no_flip=True),
        **dict(schedule="trapezoid", no_lr_search=True, unlabeled=None, pretraining_share=0.5),
        val_per_class=None,
        void_id=None,
    )
    return argparse.Namespace(**known | changes)


@pytest.mark.parametrize(
    ("write", "task", "images", "model", "name"),
    [
        # One of the six images with three boxes is held out.
        (write_boxes, "detection", {"train": 5, "val": 1}, "FasterRCNN", "vit+shortcut"),
        (write_maps, "segmentation", {"train": 6, "val": 2}, "EncoderDecoder", "swin"),
    ],
)
def test_from_data_to_a_run(write, task, images, model, name, tmp_path):
    data, prepared = write(tmp_path / "data", 3), tmp_path / "out" / "data"
    found = look(str(data), str(prepared), None, None)
    assert (found["task"], found["image_size"], found["same_images"]) == (task, 64, True)
    assert found["images"] == images
    assert check_samples(["all"], found) == [None]
    with pytest.raises(UserError, match="--samples-per-class 5: not available for detection"):
        check_samples(["5"], found)
    settings = make_settings(asked(data=str(data)), 64, task, str(prepared))
    assert (settings.batch_size, settings.sizes, settings.target) == (8, "params", 2e6)
    assert make_settings(asked(params=1e6), 64, task).target == 1e6
    assert make_settings(asked(as_published=True), 64, task).sizes == "published"
    run = Run(name, None, 3, 40, 2, rate=3.0)
    cfg = run_config(settings, run, len(found["classes"]))
    plain = run_config(settings, Run(name, None, 3, 40, 2), len(found["classes"]))
    assert cfg.model.type == model
    assert cfg.model.data_preprocessor.mean
    # The config of the digits would have eleven classes.
    assert "class_weight" not in str(cfg.model.get("decode_head"))
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(3 * plain.optim_wrapper.optimizer.lr)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (40, 20)
    assert cfg.default_hooks.checkpoint.save_best == TASKS[task].metric
    assert cfg.randomness.seed == 3
    if task == "detection":
        assert cfg.val_evaluator.metric == ["bbox"]
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert not any("Flip" in step for step in steps)
    flipped = make_settings(asked(data=str(data), no_flip=False), 64, task, str(prepared))
    pipeline = run_config(flipped, run, 1).train_dataloader.dataset.pipeline
    assert any("Flip" in step.type for step in pipeline)


@pytest.mark.parametrize(("objects", "detections"), [(60, 75), (120, 150)])
def test_every_object_of_an_image_can_be_found(objects, detections, tmp_path):
    data, prepared = write_boxes(tmp_path / "data", objects), tmp_path / "out"
    look(str(data), str(prepared), None, None)
    settings = make_settings(asked(data=str(data)), 64, "detection", str(prepared))
    model = run_config(settings, Run("dwnet", None, 0, 40, 2), 1).model
    assert model.test_cfg.rcnn.max_per_img == detections  # 20 for the digits
    for rpn in (model.test_cfg.rpn, model.train_cfg.rpn_proposal):
        assert rpn.max_per_img == max(100, detections)
        assert rpn.nms_pre == 200


@pytest.mark.parametrize(
    ("write", "task", "names"),
    [
        (write_boxes, "detection", ["vit", "swin"]),
        (write_maps, "segmentation", ["cvt", "dhvt", "dwnet", "swin+shortcut"]),
    ],
)
def test_networks_of_detectors_and_segmentors_have_equal_size(write, task, names, tmp_path):
    data, prepared = write(tmp_path / "data"), tmp_path / "out"
    look(str(data), str(prepared), None, None)
    settings = make_settings(asked(data=str(data)), 64, task, str(prepared))
    found = fit(settings, names, 2, None)
    for name in names:
        assert found[name]["size"] == pytest.approx(2e6, rel=0.1)
        cfg = run_config(settings, Run(name, None, 0, 40, 2, found[name]["width"]), 2)
        init_default_scope(cfg.default_scope)
        model = build_model(cfg).eval()
        assert sum(each.numel() for each in model.parameters()) == found[name]["size"]
        assert width_of(cfg.model) % step_of(cfg.model) == 0
        with torch.inference_mode():  # the necks and heads fit the backbone
            channels = len(cfg.model.data_preprocessor.mean)
            features = model.extract_feat(torch.zeros(1, channels, 64, 64))
            if task == "segmentation":
                model.decode_head(features), model.auxiliary_head(features)


def test_an_ignored_value_of_label_maps(tmp_path):
    data, prepared = write_maps(tmp_path / "data"), str(tmp_path / "out")
    found = look(str(data), prepared, 2, None)
    assert len(found["classes"]) == 2
    assert any("2 is ignored (void)" in note for note in found["notes"])
    settings = make_settings(asked(data=str(data), void_id=2), 64, "segmentation", prepared)
    cfg = run_config(settings, Run("swin", None, 0, 40, 2), 1)
    steps = cfg.train_dataloader.dataset.pipeline
    (loading,) = (step for step in steps if "label_map" in step)
    assert loading.label_map[2] == 255
    # By default the value is a class, and a note says how to ignore it.
    other = look(str(data), str(tmp_path / "other"), None, None)
    assert len(other["classes"]) == 3
    assert "--void-id 2" in str(other["notes"])
    with pytest.raises(DataError, match="--void-id 7 does not occur in the label maps"):
        look(str(data), prepared, 7, None)


def test_an_ignored_value_needs_no_class_name(tmp_path):
    data = write_maps(tmp_path / "data")
    (data / "classes.txt").write_text("sky\nroad\n")
    assert look(str(data), str(tmp_path / "out"), 2, None)["classes"] == ["sky", "road"]


def test_costs_of_networks_for_gray_images(tmp_path):
    data, prepared = write_maps(tmp_path / "data"), str(tmp_path / "out")
    look(str(data), prepared, None, None)
    settings = make_settings(asked(data=str(data), batch_size=2), 64, "segmentation", prepared)
    found = measure(settings, {"dwnet": 0}, 3, None)["methods"]["dwnet"]
    assert min(found[key] for key in ("params", "flops", "step_seconds")) > 0


def test_boxes_and_classes_have_no_ignored_value(tmp_path):
    with pytest.raises(UserError, match="--void-id 1 requires label maps"):
        look(str(write_boxes(tmp_path / "data")), str(tmp_path / "out"), 1, None)
    with pytest.raises(UserError, match="--void-id 1 requires label maps, and digits"):
        look("digits", "", 1, None)


def test_folders_of_classes_are_classified(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(5):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), np.zeros((32, 32, 3), np.uint8))
    assert "task" not in look(str(tmp_path), str(tmp_path / "out"), None, None)


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("swin", "classification", "swin requires boxes or label maps"),
        ("resnet", "detection", r"for detection there are vit \(\+shortcut\), swin"),
        ("dhvt+shortcut", "segmentation", "for segmentation there are"),
        ("vit+guidance", "detection", "for detection there are"),
    ],
)
def test_unsupported_methods_of_a_task(name, task, said):
    with pytest.raises(UserError, match=said):
        check_method(parse_method(name), task)
    for each in DENSE_METHODS:
        check_method(parse_method(each), "detection")


def test_numbers_are_percent():
    assert TASKS["detection"].percent({"coco/bbox_mAP": 0.25}) == 25.0
    assert TASKS["detection"].percent({"coco/bbox_mAP": -1.0}) == 0.0
    assert TASKS["segmentation"].percent({"mIoU": 31.5}) == 31.5


def test_results_beside_the_images_are_no_other_images(tmp_path):
    data, out = write_boxes(tmp_path / "data"), tmp_path / "data" / "bench"
    before = look(str(data), str(out / "data"), None, None)
    (out / "report.html").write_text("report")
    assert look(str(data), str(out / "data"), None, None) == before
    (tmp_path / "data" / "note.txt").write_text("another file")
    assert look(str(data), str(out / "data"), None, None) != before


def test_masks_are_omitted_in_validation(tmp_path):
    cfg = read_config("configs/dwnet/dwnet-mini_digits-det.py")
    init_default_scope(cfg.default_scope)
    model = build_model(cfg)
    runner, hook, head = argparse.Namespace(model=model), BoxesOnly(), model.roi_head.mask_head
    hook.before_val_epoch(runner)
    assert not model.with_mask
    hook.after_val_epoch(runner)
    assert model.roi_head.mask_head is head
    del model.roi_head.mask_head  # Faster R-CNN
    hook.before_val_epoch(runner)
    hook.after_val_epoch(runner)
    assert not model.with_mask


def test_validations_of_detectors_are_rarer():
    counts = [evaluations(600, task) for task in ("classification", "segmentation", "detection")]
    assert counts == [10, 10, 4]
