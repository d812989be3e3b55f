"""Detection of the dataset format of a folder, and errors for ambiguous or unsupported ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_builders import write_coco
from smallvit.datasets.class_folders import ClassFolders
from smallvit.datasets.label_maps import IGNORED
from smallvit.datasets.recognition import recognize
from smallvit.datasets.recognition.splitting import hold_out
from smallvit.datasets.recognition.survey import look_at
from smallvit.errors import DataError, UserError


def image(path: Path, size=(20, 24), mode="RGB", color=0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def classes(root: Path, count=6, names=("cat", "dog")) -> Path:
    for name in names:
        for number in range(count):
            image(root / name / f"{number} ü.JPG")
    return root


def maps(root: Path, values=(0, 1), count=4, folders=("images", "annotations")) -> Path:
    for number in range(count):
        image(root / folders[0] / f"{number}.jpg")
        labels = np.resize(np.array(values, np.uint8), (24, 20))
        path = root / folders[1] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(path)
    return root


def yolo(root: Path, line="0 0.5 0.5 0.5 0.5", count=4) -> Path:
    for number in range(count):
        image(root / f"images/{number}.jpg")
        path = root / f"labels/{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(line)
    return root


def read(root, tmp_path, *args, **kwargs):
    return recognize(str(root), str(tmp_path / "out"), *args, **kwargs)


def test_class_folders_without_a_split_get_one_that_is_stored(tmp_path):
    data = read(classes(tmp_path / "my data", 10), tmp_path)
    assert (data.form, data.classes) == ("folder", ("cat", "dog"))
    assert data.images == {"train": 16, "val": 4}
    assert data.counts["val"] == {"cat": 2, "dog": 2}
    lists = {
        split: (tmp_path / f"out/split/{split}.txt").read_text("utf-8").splitlines()
        for split in ("train", "val")
    }
    assert not set(lists["train"]) & set(lists["val"])
    # Images added later do not move others to a different split.
    image(tmp_path / "my data/cat/new.jpg")
    found = ClassFolders(str(tmp_path / "my data"), **data.datasets["val"])
    assert [one["img_path"].split("/")[-1] for one in found.load_data_list()] == [
        name.split("/")[-1] for name in lists["val"]
    ]


def test_class_folders_with_splits(tmp_path):
    for split in ("train", "val", "test"):
        classes(tmp_path / "data" / split, 2)
    data = read(tmp_path / "data", tmp_path)
    assert data.images == {"train": 4, "val": 4, "test": 4}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "count", "text"),
    [(("cat",), 5, "two class folders, got one"), (("cat", "dog"), 1, "contains one image")],
)
def test_class_folders_that_cannot_be_trained(names, count, text, tmp_path):
    with pytest.raises(DataError, match=text):
        read(classes(tmp_path / "data", count, names), tmp_path)


def test_coco_in_folders_of_splits(tmp_path):
    for split in ("train", "val"):
        write_coco(tmp_path / "data", images=3, name=split)
    data = read(tmp_path / "data", tmp_path)
    assert data.form == "custom-coco"
    assert data.images == {"train": 3, "val": 3}
    assert data.datasets["val"] == {"ann_file": "val.json", "data_prefix": {"img": "val/"}}
    assert data.most_objects == 2


def test_the_other_splits_of_a_given_coco_file_are_named(tmp_path):
    for split in ("train", "val"):
        path = write_coco(tmp_path / "data", images=10, name=split)
    train = read(path.parent / "train.json", tmp_path)
    assert train.images == {"train": 8, "val": 2}
    said = "val.json in the same folder: not used. Pass the folder"
    assert any(note.startswith(said) for note in train.notes)
    assert not any("not used" in note for note in read(path.parent, tmp_path).notes)


def test_one_coco_file_is_split(tmp_path):
    path = write_coco(tmp_path / "data", images=10, name="all")
    for source in (path, path.parent):
        data = read(source, tmp_path)
        assert data.images == {"train": 8, "val": 2}
        for split, number in (("train", 8), ("val", 2)):
            content = json.loads(Path(data.datasets[split]["ann_file"]).read_text())
            assert len(content["images"]) == number
            assert len(content["annotations"]) == 2 * number


def test_boxes_without_outlines_are_boxes(tmp_path):
    def drop(content):
        for one in content["annotations"][:3]:
            one["segmentation"] = []

    data = read(write_coco(tmp_path / "data", drop, images=10), tmp_path)
    assert data.form == "custom-boxes"
    assert any("3 of 20 objects have no outline" in note for note in data.notes)


def test_coco_files_with_outside_paths_or_without_images(tmp_path):
    def escape(content):
        content["images"][0]["file_name"] = "../../../../etc/x.png"

    with pytest.raises(DataError, match="outside of the data folder"):
        read(write_coco(tmp_path / "data", escape), tmp_path)

    def rename(content):
        for one in content["images"]:
            one["file_name"] = "gone.png"

    with pytest.raises(DataError, match=r"no image of .* was found, e\.g\. gone\.png"):
        read(write_coco(tmp_path / "data", rename), tmp_path)


def test_other_formats_become_coco_with_a_count(tmp_path):
    root = yolo(tmp_path / "data", "0 0.5 0.5 0.5 0.5\n0 0.1 0.1\n", 10)
    data = read(root, tmp_path)
    assert data.form == "custom-boxes"
    assert data.images == {"train": 8, "val": 2}
    assert sum(one["class_0"] for one in data.counts.values()) == 10
    assert any("10 x polygon with fewer than three points" in note for note in data.notes)
    lone = yolo(tmp_path / "lone", count=1)
    image(lone / "images/empty.jpg")
    with pytest.raises(DataError, match="too few images with objects"):
        read(lone, tmp_path)
    with pytest.raises(DataError, match="no valid object"):
        read(yolo(tmp_path / "empty", "0 9 9 9 9"), tmp_path, "yolo")


@pytest.mark.parametrize(
    ("values", "void", "names", "table"),
    [
        ((0, 1, 2, 255), None, 3, None),
        ((0, 1, 2), 2, 2, {2: 255}),
        ((0, 255), None, 2, {255: 1}),
        ((1, 2, 3), None, 3, {1: 0, 2: 1, 3: 2}),
        ((0, 1, 2), 0, 2, {1: 0, 2: 1, 0: 255}),
        ((0, 1, 2, 3), 1, 3, {2: 1, 3: 2, 1: 255}),
        ((0, 100, 200), None, 3, {100: 1, 200: 2}),
    ],
)
def test_values_of_label_maps_are_reported(values, void, names, table, tmp_path):
    data = read(maps(tmp_path / "data", values), tmp_path, void=void)
    assert data.form == "custom-masks"
    assert len(data.classes) == names
    assert data.label_map == table
    asked = void is None and IGNORED not in values  # the void value cannot be inferred
    assert any(f"--void-id {values[-1]}" in note for note in data.notes) == asked


def test_a_file_names_the_classes_and_the_void(tmp_path):
    root = maps(tmp_path / "data", (0, 1, 2))
    (root / "classes.txt").write_text("road\nsky\nvoid\n")
    data = read(root, tmp_path)
    assert data.classes == ("road", "sky")
    assert data.label_map == {2: 255}
    assert data.counts["val"] == {"road": 1, "sky": 1}
    with pytest.raises(DataError, match="--void-id 7"):
        read(root, tmp_path, void=7)
    (root / "classes.txt").write_text("road\nsky\n")
    with pytest.raises(DataError, match="has no line for values 2"):
        read(root, tmp_path)


def test_damaged_and_unpaired_label_maps_are_counted(tmp_path):
    root = maps(tmp_path / "data")
    (root / "annotations/1.png").write_bytes(b"no image")
    image(root / "images/lonely.jpg")
    image(root / "annotations/spare.png", mode="L")
    notes = "\n".join(read(root, tmp_path).notes)
    assert "1 damaged label maps, e.g. 1.png" in notes
    assert "1 images of train without a label map, e.g. lonely.jpg" in notes
    assert "1 label maps of train without an image" in notes


def test_label_maps_in_other_layouts(tmp_path):
    for split in ("train", "valid"):
        maps(tmp_path / "a" / split, folders=("images", "masks"))
    assert read(tmp_path / "a", tmp_path).images == {"train": 4, "val": 4}
    for number in range(3):
        image(tmp_path / "b" / f"{number}.jpg")
        image(tmp_path / "b" / f"{number}_mask.png", mode="L", color=number % 2)
    data = read(tmp_path / "b", tmp_path)
    assert data.datasets["train"]["seg_map_suffix"] == "_mask"
    assert data.images == {"train": 2, "val": 1}


def test_ambiguous_folders_are_rejected(tmp_path):
    root = yolo(maps(tmp_path / "data"))
    with pytest.raises(UserError, match=r"YOLO.*label maps.*--data-layout yolo or .*masks"):
        read(root, tmp_path)
    assert read(root, tmp_path, "masks").form == "custom-masks"
    assert read(root, tmp_path, "yolo").form == "custom-boxes"


def test_unknown_folders_are_rejected(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        read(tmp_path / "empty", tmp_path)
    image(tmp_path / "loose/1.jpg")
    with pytest.raises(UserError, match=r"no known layout, found 1\.jpg"):
        read(tmp_path / "loose", tmp_path)
    classes(tmp_path / "outer/inner")
    with pytest.raises(UserError, match=r"Pass --data .*inner"):
        read(tmp_path / "outer", tmp_path)
    image(tmp_path / "damaged/train/1.jpg")
    (tmp_path / "damaged/train.json").write_text('{"images": [tru')
    with pytest.raises(DataError, match="not valid JSON"):
        read(tmp_path / "damaged", tmp_path)
    with pytest.raises(UserError, match="--void-id"):
        read(classes(tmp_path / "data"), tmp_path, void=3)


def test_channels_and_sizes(tmp_path):
    gray = [str(image(tmp_path / f"{k}.png", mode="L")) for k in range(3)]
    assert (look_at(gray).channels, look_at(gray).short) == (1, 20)
    opaque = [str(image(tmp_path / f"o{k}.png", mode="RGBA", color=(0, 0, 0, 255))) for k in (1, 2)]
    assert look_at(opaque).channels == 3
    with Image.open(opaque[0]) as one:
        one.putpixel((0, 0), (0, 0, 0, 9))
        one.save(opaque[0])
    assert look_at(opaque).channels == 4
    assert look_at([*gray, opaque[0]]).channels == 3
    with pytest.raises(DataError, match="can be read"):
        look_at([str(tmp_path / "gone.png")])


@pytest.mark.parametrize(("top", "white"), [(3000, 4095), (40000, 65535)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_white_level_of_deep_images_is_reported(channels, top, white, tmp_path):
    pixels = np.linspace(0, top, 20 * 24 * channels).astype(np.uint16)
    shape = (20, 24) if channels == 1 else (20, 24, channels)
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    assert all(cv2.imwrite(path, pixels.reshape(shape)) for path in paths)
    found = look_at(paths)
    assert (found.channels, found.white) == (1 if channels == 1 else 3, white)
    assert f"maximum in the sample: {top}" in found.note
    assert ("transparent" in found.note) == (channels == 4)


def test_a_split_has_a_fifth_of_each_class():
    labels = {f"{name}{k}": [name] for name in "ab" for k in range(20)}
    labels |= {f"both{k}": ["a", "c"] for k in range(10)}
    chosen = hold_out(labels, "it")
    assert sum(name.startswith("a") for name in chosen) == 4
    assert sum(name.startswith("both") for name in chosen) == 2
    assert chosen == hold_out(dict(reversed(labels.items())), "it")
    with pytest.raises(DataError, match="1 image with labels"):
        hold_out({"a": ["x"]}, "it")
