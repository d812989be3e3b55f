"""Configs for user datasets with boxes or label maps, which only require data_root and classes."""

import json
from copy import deepcopy

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from config_helpers import LEAVES, read_config, scope_of
from data_builders import write_coco
from smallvit.cli.config import finalize_config
from smallvit.datasets.label_map_folder import LabelMaps, palette_of
from smallvit.errors import DataError, UserError
from smallvit.registry import DATASETS

FORMS = ("custom-coco", "custom-boxes", "custom-masks")
FAMILIES = {
    *("dhvt-t", "dwnet-t", "dwnet-t_dynamic", "swin-t_shortcut", "vit-t_shortcut"),
    *("cvt-13", "pvtv2-b0"),
}
COCO, BOXES, MASKS = (f"locality_guidance/pvtv2-b0_{form}.py" for form in FORMS)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    root = tmp_path_factory.mktemp("my objects")
    for split in ("train", "val"):
        write_coco(root, images=2, name=split, classes=("nucleus", "dust", "hair"))
    return root


def fitted(name, root, **options):
    cfg = read_config(name) if isinstance(name, str) else deepcopy(name)
    finalize_config(cfg, {"data_root": str(root), **options})
    return cfg


@pytest.mark.parametrize("form", FORMS)
def test_each_family_has_one_of_each_form(form):
    names = {name.split("/")[1] for name in LEAVES if name.endswith(f"_{form}.py")}
    assert names == {f"{family}_{form}.py" for family in FAMILIES}


@pytest.mark.parametrize("name", [COCO, BOXES])
def test_objects_follow_the_annotation_file(name, objects):
    cfg = fitted(name, objects)
    assert cfg.model.roi_head.bbox_head.num_classes == 3
    assert cfg.val_evaluator.ann_file == str(objects / "val.json")
    has_masks = name == COCO
    assert bool(cfg.model.roi_head.mask_head) == has_masks
    for split in ("train", "val", "test"):
        with scope_of(cfg):
            dataset = DATASETS.build(deepcopy(cfg[f"{split}_dataloader"].dataset))
        assert dataset.metainfo["classes"] == ("nucleus", "dust", "hair")
        assert len(dataset) == 2
        sample = dataset[0]["data_samples"].gt_instances
        assert ("masks" in sample) == has_masks


def test_a_fitted_config_follows_another_folder(objects, tmp_path):
    dumped = Config(fitted(COCO, objects).to_dict())
    for split in ("train", "val"):
        write_coco(tmp_path, images=1, name=split, classes=("cat", "dog"))
    cfg = fitted(dumped, tmp_path)
    assert cfg.val_evaluator.ann_file == str(tmp_path / "val.json")
    assert cfg.train_dataloader.dataset.metainfo.classes == ("cat", "dog")
    assert cfg.model.roi_head.mask_head.num_classes == 2


def test_files_that_are_missing_are_named(tmp_path):
    with pytest.raises(DataError, match=r"train\.json"):
        fitted(COCO, tmp_path)
    (tmp_path / "train.json").write_text(json.dumps({"images": []}))
    with pytest.raises(DataError, match="contains no classes"):
        fitted(COCO, tmp_path)


def write_pair(root, image, label, values=(0, 1)):
    for path in (root / image, root / label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(root / image)
    Image.fromarray(np.full((16, 16), values[1], np.uint8)).save(root / label)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    root = tmp_path_factory.mktemp("my maps")
    for split in ("train", "val"):
        for name in ("a b.JPG", "ü.png"):
            label = f"annotations/{split}/{name.rpartition('.')[0]}.png"
            write_pair(root, f"images/{split}/{name}", label)
    Image.new("RGB", (16, 16)).save(root / "images/train/alone.jpg")
    return root


def test_label_maps_follow_the_classes_of_the_training(maps):
    key = "train_dataloader.dataset.metainfo.classes"
    cfg = fitted(MASKS, maps, **{key: ("road", "sky", "car")})
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 3
    for split in ("train", "val", "test"):
        with scope_of(cfg):
            dataset = DATASETS.build(deepcopy(cfg[f"{split}_dataloader"].dataset))
        assert dataset.metainfo["classes"] == ("road", "sky", "car")
        names = [one["img_path"].rpartition("/")[2] for one in dataset.load_data_list()]
        assert names == ["a b.JPG", "ü.png"]
    with pytest.raises(UserError, match="metainfo"):
        fitted(MASKS, maps, **{key: ()})


def test_label_maps_are_paired_whatever_the_endings(tmp_path):
    write_pair(tmp_path, "1.jpg", "1_mask.PNG")
    write_pair(tmp_path, "2.jpg", "2_mask.png")
    found = LabelMaps(str(tmp_path), seg_map_suffix="_mask", metainfo=dict(classes=("a", "b")))
    pairs = [(one["img_path"][-5:], one["seg_map_path"][-10:]) for one in found.load_data_list()]
    assert pairs == [("1.jpg", "1_mask.PNG"), ("2.jpg", "2_mask.png")]
    beside = tmp_path / "beside"
    write_pair(beside, "1.jpg", "1.png")
    (only,) = LabelMaps(str(beside), metainfo=dict(classes=("a",))).load_data_list()
    assert only["img_path"].endswith("1.jpg")
    assert only["seg_map_path"].endswith("1.png")


def test_a_list_names_the_pairs(maps, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("images/val/ü.png\tannotations/val/ü.png\n", encoding="utf-8")
    found = LabelMaps(str(maps), ann_file=str(path), metainfo=dict(classes=("a",)))
    assert len(found) == 1
    path.write_text("../../etc/x.png\tannotations/val/a.png\n")
    with pytest.raises(DataError, match="outside of the data folder"):
        LabelMaps(str(maps), ann_file=str(path), metainfo=dict(classes=("a",)))
    with pytest.raises(DataError, match="does not exist"):
        LabelMaps(str(maps), data_prefix=dict(img_path="nowhere"))


def test_colors_differ():
    assert len(set(map(tuple, palette_of(60)))) == 60
