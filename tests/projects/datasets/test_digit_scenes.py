import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from smallvit.datasets import digit_scenes
from smallvit.datasets.digit_scenes import SceneSettings, iter_scenes, write_digit_scenes
from smallvit.datasets.digits import digit_indices, load_digit_images
from smallvit.errors import UserError

SMALL = SceneSettings(num_train=3, num_val=2)
FOLDERS = {"train": "training", "val": "validation"}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "digits"
    write_digit_scenes(out, SMALL)
    return out


def test_same_settings_give_the_same_files(written, tmp_path):
    write_digit_scenes(tmp_path / "again", SMALL)
    assert contents(tmp_path / "again") == contents(written)


def test_another_seed_gives_other_scenes():
    images = [next(iter_scenes(SceneSettings(seed=seed), "train")).image for seed in (0, 1)]
    assert not np.array_equal(*images)


def test_more_scenes_begin_with_the_same_ones():
    more = iter_scenes(SceneSettings(num_train=5, num_val=9), "train")
    for scene, other in zip(iter_scenes(SMALL, "train"), more, strict=False):
        assert np.array_equal(scene.image, other.image)


def test_train_and_val_show_different_digits():
    settings = SceneSettings(num_train=100, num_val=100)
    labels = load_digit_images()[1]
    for split, source in (("train", "trainval"), ("val", "test")):
        shown = np.concatenate([scene.sources for scene in iter_scenes(settings, split)])
        assert set(shown) <= set(digit_indices(labels, source))


def test_scenes_are_what_the_settings_ask_for():
    settings = SceneSettings(num_train=60, size=80, digits_per_scene=(1, 4), digit_size=(16, 32))
    scenes = list(iter_scenes(settings, "train"))
    assert {scene.image.shape for scene in scenes} == {(80, 80, 3)}
    assert {len(scene.labels) for scene in scenes} == {1, 2, 3, 4}
    heights = [np.ptp(np.nonzero(mask)[0]) + 1 for scene in scenes for mask in scene.masks]
    assert max(heights) <= 32
    assert max(heights) > 1.5 * min(heights)
    assert all(scene.image[~scene.masks.any(0)].std() > 3 for scene in scenes)


def test_masks_share_no_pixel_and_stay_visible():
    for scene in iter_scenes(SceneSettings(num_train=60, digits_per_scene=(5, 8)), "train"):
        assert scene.masks.sum(0).max() == 1
        assert scene.masks.sum((1, 2)).min() > 0
        assert np.array_equal(scene.masks.any(0), scene.label_map > 0)


def test_digits_have_contrast_to_the_background():
    scene = next(iter_scenes(SceneSettings(digits_per_scene=(1, 1)), "train"))
    ink = scene.image[scene.masks[0]].mean()
    around = cv2.dilate(scene.masks[0].astype(np.uint8), np.ones((9, 9))) > 0
    assert abs(ink - scene.image[around & ~scene.masks[0]].mean()) > 20


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_layout(written, split):
    coco = COCO(str(written / "annotations" / f"instances_{split}.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list("0123456789")
    scenes = list(iter_scenes(SMALL, split))
    assert len(coco.imgs) == len(scenes)
    for image_id, scene in enumerate(scenes, 1):
        annotations = coco.loadAnns(coco.getAnnIds(image_id))
        assert [item["category_id"] - 1 for item in annotations] == scene.labels.tolist()
        for item, mask in zip(annotations, scene.masks, strict=True):
            assert np.array_equal(coco.annToMask(item), mask)
            assert item["area"] == mask.sum()
            rows, columns = np.nonzero(mask)
            x, y, width, height = item["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)


@pytest.mark.parametrize("split", ["train", "val"])
def test_ade20k_layout(written, split):
    names = sorted(path.name for path in (written / "images" / FOLDERS[split]).iterdir())
    maps = written / "annotations" / FOLDERS[split]
    assert sorted(path.name for path in maps.iterdir()) == names
    for name, scene in zip(names, iter_scenes(SMALL, split), strict=True):
        image = cv2.imread(str(written / "images" / FOLDERS[split] / name))
        assert np.array_equal(image[..., ::-1], scene.image)
        label_map = cv2.imread(str(maps / name), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(label_map, scene.label_map)
        for mask, label in zip(scene.masks, scene.labels, strict=True):
            assert set(label_map[mask]) == {label + 1}


def test_settings_are_recorded(written):
    settings = json.loads((written / "digit_scenes.json").read_text())
    assert settings == {
        "num_train": 3,
        "num_val": 2,
        "size": 96,
        "digits_per_scene": [2, 5],
        "digit_size": [20, 44],
        "seed": 0,
    }


def test_overwrite_only_when_asked(tmp_path):
    out = tmp_path / "scenes"
    write_digit_scenes(out, SMALL)
    before = contents(out)
    other = SceneSettings(num_train=1, num_val=1, seed=1)
    with pytest.raises(UserError, match=r"scenes already contains digit scenes.*--overwrite"):
        write_digit_scenes(out, other)
    assert contents(out) == before
    write_digit_scenes(out, other, overwrite=True)
    assert len(list((out / "images" / "training").iterdir())) == 1
    assert list(tmp_path.iterdir()) == [out]


def test_never_replaces_a_foreign_folder(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="contains no digit scenes"):
        write_digit_scenes(tmp_path, SMALL, overwrite=True)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


@pytest.mark.parametrize(
    "name", ["notes.txt", "images/training/mine.png", "images/training/000099.png", "mine/a.png"]
)
def test_files_of_others_are_never_removed(tmp_path, name):
    out = tmp_path / "scenes"
    write_digit_scenes(out, SMALL)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=f"contains {name} .*is not replaced"):
        write_digit_scenes(out, SMALL, overwrite=True)
    assert contents(tmp_path) == before


def test_files_added_during_writing_are_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "scenes"
    write_digit_scenes(out, SMALL)
    take_place = digit_scenes._take_place

    def put_in(fresh, target):
        (target / "images" / "mine.png").write_text("precious")
        take_place(fresh, target)

    monkeypatch.setattr(digit_scenes, "_take_place", put_in)
    write_digit_scenes(out, SceneSettings(num_train=1, num_val=1, seed=1), overwrite=True)
    assert contents(tmp_path / "scenes.replaced") == {"images/mine.png": b"precious"}
    assert len(list((out / "images" / "training").iterdir())) == 1
    assert "scenes.replaced is kept" in capsys.readouterr().out


@pytest.mark.parametrize("settings", ["", "[]", '{"num_train": "2"}', '{"num_train": -1}'])
def test_scenes_without_a_file_list_are_not_replaced(tmp_path, settings):
    out = tmp_path / "scenes"
    write_digit_scenes(out, SMALL)
    (out / "digit_scenes.json").write_text(settings)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"digit_scenes\.json.* is damaged .*Choose another folder"):
        write_digit_scenes(out, SMALL, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("there_before", [False, True])
def test_a_failure_changes_nothing(tmp_path, monkeypatch, there_before):
    out = tmp_path / "scenes"
    if there_before:
        write_digit_scenes(out, SMALL)
    before = contents(tmp_path)

    def disk_full(path, image):
        if path.name == "000002.png":
            raise OSError("disk full")

    monkeypatch.setattr(digit_scenes, "_write_png", disk_full)
    with pytest.raises(OSError, match="disk full"):
        write_digit_scenes(out, SMALL, overwrite=True)
    assert contents(tmp_path) == before
    assert out.exists() == there_before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(num_train=0), "num_train >= 1, got 0"),
        (dict(num_val=-2), "num_val >= 1, got -2"),
        (dict(seed=-1), "seed >= 0, got -1"),
        (dict(digits_per_scene=(0, 3)), r"digits_per_scene .*got \(0, 3\)"),
        (dict(digits_per_scene=(4, 3)), r"digits_per_scene .*got \(4, 3\)"),
        (dict(digit_size=(4, 20)), r"digit_size .*got \(4, 20\)"),
        (dict(size=40), r"digit_size .*size=40, got \(20, 44\)"),
    ],
)
def test_settings_out_of_range(wrong, message):
    with pytest.raises(UserError, match=message):
        SceneSettings(**wrong)
