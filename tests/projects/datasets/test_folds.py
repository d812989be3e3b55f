"""Cross-validation folds: stratified, reproducible, and separate from the validation images."""

from collections import Counter

import pytest
from PIL import Image

from data_builders import write_coco
from smallvit.datasets.recognition import Fold, recognize
from smallvit.datasets.recognition.splitting import deal
from smallvit.errors import DataError


def test_each_class_is_spread_evenly():
    labels = {f"{i}": [f"class {i % 3}"] for i in range(30)}
    labels |= {f"both {i}": ["class 0", "rare"] for i in range(4)}
    labels |= {f"none {i}": [] for i in range(6)}
    dealt = deal(labels, 4, 0, "data")
    assert dealt.keys() == labels.keys()
    sizes = Counter(dealt.values())
    assert set(sizes) == {1, 2, 3, 4}
    assert max(sizes.values()) - min(sizes.values()) <= 1
    for name in ("class 0", "class 1", "class 2", "rare"):
        count = Counter(dealt[one] for one, found in labels.items() if name in found)
        assert len(count) == 4
        assert max(count.values()) - min(count.values()) <= 1
    assert dealt == deal(dict(reversed(labels.items())), 4, 0, "data")
    assert dealt != deal(labels, 4, 1, "data")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"a": ["x"], "b": ["x"], "c": ["y"], "d": ["y"]}, "x has 2 images.*--folds 2"),
        ({"a": ["x"], "b": ["y"], "c": ["y"], "d": ["y"]}, "x has 1 image, .* Add images"),
        ({"a": [], "b": []}, "no image has a label"),
    ],
)
def test_more_folds_than_images_of_a_class(labels, text):
    with pytest.raises(DataError, match=text):
        deal(labels, 3, 0, "data")


def class_folders(root, split=""):
    for name in ("cat", "dog"):
        (root / split / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 20)).save(root / split / name / f"{number}.png")
    return root


def label_maps(root, split=""):
    for folder in ("images", "annotations"):
        (root / folder / split).mkdir(parents=True)
        for number in range(4):
            mode, ending = ("RGB", "jpg") if folder == "images" else ("L", "png")
            picture = Image.new(mode, (20, 20))
            if mode == "L":
                picture.paste(1, (0, 0, 9, 9))
            picture.save(root / folder / split / f"{number}.{ending}")
    return root


def coco(root, split="all"):
    root.mkdir(exist_ok=True)
    write_coco(root, images=4, name=split)
    return root


BUILDERS = {"folders": class_folders, "maps": label_maps, "coco": coco}


@pytest.mark.parametrize("kind", BUILDERS)
def test_folds_hold_every_training_image_once(kind, tmp_path):
    root = BUILDERS[kind](tmp_path / "data")
    seen = Counter()
    for number in (1, 2):
        data = recognize(str(root), str(tmp_path / f"{number}"), fold=Fold(number, 2))
        lists = {}
        for split, path in data.lists.items():
            with open(path, encoding="utf-8") as file:
                lists[split] = set(file.read().splitlines())
        assert not lists["train"] & lists["val"]
        assert data.images == {split: len(found) for split, found in lists.items()}
        assert all(data.counts["val"].values())
        assert data.datasets["train"] != data.datasets["val"]
        assert "fold" in data.notes[-1]
        seen.update(lists["val"])
    assert set(seen.values()) == {1}
    assert sum(data.images.values()) == len(seen)


@pytest.mark.parametrize("kind", BUILDERS)
def test_given_validation_images_are_in_no_fold(kind, tmp_path):
    root = tmp_path / "data"
    for split in ("train", "val"):
        BUILDERS[kind](root, split)
    data = recognize(str(root), str(tmp_path / "out"), fold=Fold(1, 2))
    total = data.images["test"]
    assert data.images["train"] + data.images["val"] == total
    assert f"the {total} images of val are not part of the folds" in " ".join(data.notes)
    plain = recognize(str(root), str(tmp_path / "plain"))
    assert data.datasets.get("test") == plain.datasets.get("test")
