"""Conversion of YOLO, Pascal VOC and LabelMe files to COCO, counting what is skipped."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_builders import write_coco
from smallvit.datasets.coco_objects import TRAINED, read_objects
from smallvit.datasets.coco_repair import repair
from smallvit.datasets.formats import (
    coco_content,
    is_labelme,
    is_voc,
    is_yolo,
    read_labelme,
    read_voc,
    read_yolo,
)
from smallvit.datasets.formats.voc import parse_xml
from smallvit.errors import DataError
from tool_helpers import load_tool, run_main

READERS = {
    "yolo": (is_yolo, read_yolo),
    "voc": (is_voc, read_voc),
    "labelme": (is_labelme, read_labelme),
}
POLYGON = [2, 3, 20, 3, 20, 30, 11, 31]


def image(path: Path, size=(40, 60), mode="RGB", **kwargs) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **kwargs)


def text(path: Path, content: str | dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def trained(found) -> int:
    """Count the objects on which MMDetection trains."""
    content = coco_content(found.images, found.classes)
    assert repair(content, "it") == []
    return int((read_objects(content, found.classes).reasons == TRAINED).sum())


def reasons(found) -> dict[str, int]:
    return {reason: number for reason, (number, _) in found.unread.items()}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A COCO file with a polygon, an object in two parts and a one-pixel-wide line."""
    root = tmp_path_factory.mktemp("coco")

    def outlines(content):
        for one in content["annotations"]:
            x, y, w, h = one["bbox"]
            one["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        one["segmentation"] = [[5, 7, 5, 8, 5, 12]]
        one["bbox"] = [5, 7, 1, 6]
        second = content["annotations"][0]
        x, y, *_ = second["bbox"]
        second["segmentation"].append([x, y, x + 3.25, y, x + 3.25, y + 4])

    return write_coco(root, outlines)


@pytest.mark.parametrize("kind", READERS)
def test_all_objects_are_trained_and_none_is_a_crowd(kind, coco, tmp_path):
    before = json.loads(coco.read_text())
    out = tmp_path / "my data"
    tool = load_tool("dataset_converters/coco2labels.py")
    run_main(tool.main, str(coco), str(coco.with_suffix("")), str(out), "--format", kind)
    assert [name for name, (is_it, _) in READERS.items() if is_it(str(out))] == [kind]
    found = READERS[kind][1](str(out))
    assert found.unread == {}
    assert trained(found) == found.objects == len(before["annotations"])
    assert {one.split for one in found.images} == {"train"}
    after = coco_content(found.images, found.classes)
    assert not any(one["iscrowd"] for one in after["annotations"])
    if kind == "labelme":  # polygons are kept unchanged, including parts and one-pixel-wide lines
        polygons = [one["segmentation"] for one in before["annotations"]]
        assert [one["segmentation"] for one in after["annotations"]] == polygons


def test_yolo_reports_what_it_skips(tmp_path):
    text(tmp_path / "data.yaml", "train: images\nval: images\nnames: [cell, dust]\nnc: 2\n")
    for name in ("a.jpg", "b b.PNG", "c.jpg", "ü.jpg"):
        image(tmp_path / "images" / name)
    (tmp_path / "images/broken.jpg").write_bytes(b"no image")
    image(tmp_path / "images/turned.jpg", exif=_turned())
    lines = [
        *("0 0.5 0.5 0.25 0.5", "1 0.1 0.1 0.5 0.1 0.5 0.6", "7 0.5 0.5 0.1 0.1"),
        *("0 0.1 0.1", "0 0.1 0.2 0.3 0.4 0.5", "0 9 9 1 1", "a b c d e", "0 0.5 0.5 nan 0.1"),
    ]
    text(tmp_path / "labels/a.txt", "\n".join(lines))
    text(tmp_path / "labels/b b.txt", "0 0.5 0.5 1 1\n")
    text(tmp_path / "labels/turned.txt", "0 0.5 0.5 0.5 0.5\n")
    text(tmp_path / "labels/gone.txt", "0 0.5 0.5 0.5 0.5\n")
    found = read_yolo(str(tmp_path))
    assert found.classes == ("cell", "dust")
    assert found.objects == trained(found) == 4
    assert reasons(found) == {
        "unknown class 7 (classes: 0, 1)": 1,
        "polygon with fewer than three points": 1,
        "line with an odd number of coordinates, neither a box (4) nor a polygon": 1,
        "coordinates that are not normalized (0 to 1)": 2,
        "line that is not numeric": 1,
        "unreadable image": 1,
        "label file without its image": 1,
    }
    assert any(note.startswith("2 images have no label file") for note in found.notes)
    boxes = {one.name: one for one in found.images}
    assert boxes["images/a.jpg"].shapes[0].box == (15, 15, 10, 30)
    # Viewers rotate the image by its EXIF tag, and the labels refer to the rotated image.
    assert boxes["images/turned.jpg"].size == (60, 40)


def _turned():
    exif = Image.Exif()
    exif[274] = 6
    return exif


def test_yolo_reads_the_layouts_that_others_write(tmp_path):
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        image(tmp_path / split / "images" / f"{name}.jpg")
        text(tmp_path / split / "labels" / f"{name}.txt", "1 0.5 0.5 0.5 0.5")
    description = "path: /somewhere/else\ntrain: ../train/images\nval: ../valid/images\n"
    text(tmp_path / "data.yaml", description + "test: ../test/images\nnames: {0: a, 1: b}\n")
    found = read_yolo(str(tmp_path))
    assert {one.name[-5:]: one.split for one in found.images} == {
        **{"a.jpg": "train", "b.jpg": "val", "c.jpg": "test"}
    }
    assert found.objects == 3
    (tmp_path / "data.yaml").unlink()
    found = read_yolo(str(tmp_path))
    assert [one.split for one in found.images] == ["test", "train", "val"]
    assert found.classes == ("class_1",)


def test_files_outside_of_the_data_folder_are_not_read(tmp_path):
    root = tmp_path / "data"
    image(tmp_path / "secret/images/x.jpg")
    image(root / "images/train/y.jpg")
    text(root / "data.yaml", "train: ../secret/images\nval: images/train\nnames: [a]\n")
    found = read_yolo(str(root))
    assert [one.name for one in found.images] == ["images/train/y.jpg"]
    assert "image folder outside of the data folder" in reasons(found)
    text(root / "list.txt", "../secret/images/x.jpg\nimages/train/y.jpg\n")
    text(root / "data.yaml", "train: list.txt\nnames: [a]\n")
    found = read_yolo(str(root))
    assert [one.name for one in found.images] == ["images/train/y.jpg"]
    assert reasons(found) == {"listed path outside of the data folder": 1}

    shapes = [dict(label="a", points=[[1, 1], [9, 1], [9, 9]], shape_type="polygon")]
    for number, path in enumerate(("../../secret/images/x.jpg", "/etc/passwd", "C:\\x.jpg")):
        text(root / f"{number}.json", dict(shapes=shapes, imagePath=path))
    found = read_labelme(str(root))
    assert reasons(found)["image path outside of the data folder"] == 3
    assert found.images == []


def test_xml_is_not_expanded(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>'
    image(tmp_path / "a.jpg")
    text(tmp_path / "a.xml", bomb)
    text(tmp_path / "b.xml", "<annotation><object>")
    text(tmp_path / "c.xml", "<recipe/>")
    found = read_voc(str(tmp_path))
    assert reasons(found) == {
        "XML with a document type declaration, which is not allowed": 1,
        "file that is not XML": 1,
        "XML file that is not in the format of Pascal VOC": 1,
    }
    for encoding in ("utf-16", "utf-8"):
        with pytest.raises(ValueError, match="document type"):
            parse_xml(f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'.encode(encoding))


def voc_object(label="cat", box=(2, 3, 20, 30), more="") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    bndbox = "".join(f"<{name}>{value}</{name}>" for name, value in sides)
    return f"<object><name>{label}</name><bndbox>{bndbox}</bndbox>{more}</object>"


def test_voc_reports_what_it_skips(tmp_path):
    for name in ("1.jpg", "2.JPG", "4.jpg"):
        image(tmp_path / "JPEGImages" / name)
    polygon = "<polygon><x1>2</x1><y1>3</y1><x2>20</x2><y2>3</y2><x3>9</x3><y3>30</y3></polygon>"
    objects = [
        *(voc_object(), voc_object("dog", more=polygon), voc_object("", (1, 1, 2, 2))),
        *(voc_object(box=(9, 9, 3, 3)), voc_object(box=(50, 3, 70, 9)), voc_object(box="abcd")),
        "<object><name>cat</name></object>",
    ]
    folder = tmp_path / "Annotations"
    text(folder / "1.xml", f"<annotation><filename>1.jpg</filename>{''.join(objects)}</annotation>")
    text(folder / "2.xml", f"<annotation><filename>2</filename>{voc_object()}</annotation>")
    text(folder / "3.xml", f"<annotation>{voc_object()}</annotation>")
    text(tmp_path / "ImageSets/Main/train.txt", "1\n4\n")
    text(tmp_path / "ImageSets/Main/val.txt", "2\n")
    found = read_voc(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert {one.name: one.split for one in found.images} == {
        **{"JPEGImages/1.jpg": "train", "JPEGImages/2.JPG": "val"}
    }
    assert found.objects == trained(found) == 3
    assert reasons(found) == {
        "object without a name": 1,
        "box with its minimum above its maximum": 1,
        "box outside of the image": 1,
        "coordinates that are not numbers": 1,
        "object without a box": 1,
        "annotation without its image": 1,
        "image of ImageSets without an annotation": 1,
    }


def test_labelme_reports_what_it_skips(tmp_path):
    image(tmp_path / "x/1.jpg")
    image(tmp_path / "x/2.jpg")
    shapes = [
        dict(label="a", points=np.reshape(POLYGON, (-1, 2)).tolist(), shape_type="polygon"),
        dict(label="b", points=[[20, 30], [2, 3]], shape_type="rectangle"),
        dict(label="b", points=[[20, 30], [24, 30]], shape_type="circle"),
        dict(label="a", points=[[1, 1], [5, 5]], shape_type="polygon"),
        dict(label="a", points=[[1, 1], [5, 5]], shape_type="line"),
        dict(label="a", points=[["1", 1], [5, 5]], shape_type="polygon"),
        dict(label="__ignore__", points=[[1, 1], [5, 5], [1, 5]], shape_type="polygon"),
        dict(points=[[1, 1], [5, 5], [1, 5]]),
        *(dict(label="c", group_id=1, points=[[k, 1], [k + 5, 5], [k, 5]]) for k in (1, 20)),
    ]
    text(tmp_path / "x/1.json", dict(shapes=shapes, imagePath="1.jpg", imageHeight=10**12))
    text(tmp_path / "x/other.json", dict(a=1))
    found = read_labelme(str(tmp_path))
    assert found.classes == ("a", "b", "c")
    assert found.objects == trained(found) == 4
    assert found.images[0].size == (40, 60)  # size in the image header, whatever the file says
    assert [len(one.polygons) for one in found.images[0].shapes] == [1, 0, 1, 2]
    assert found.images[0].shapes[0].polygons == (tuple(POLYGON),)
    assert sum(reasons(found).values()) == 7
    assert reasons(found)["image without a label file"] == 1


def test_oversized_images_are_skipped_by_their_header(tmp_path, monkeypatch):
    monkeypatch.setattr("smallvit.datasets.formats.folders.max_pixels", lambda: 1000)
    image(tmp_path / "images/1.jpg", (40, 60))
    text(tmp_path / "labels/1.txt", "0 0.5 0.5 0.5 0.5")
    found = read_yolo(str(tmp_path))
    assert reasons(found) == {"image above the limit of pixels": 1}


def test_symlink_loops_end(tmp_path):
    image(tmp_path / "images/1.jpg")
    text(tmp_path / "labels/1.txt", "0 0.5 0.5 0.5 0.5")
    os.symlink(tmp_path, tmp_path / "images/again")
    assert [one.name for one in read_yolo(str(tmp_path)).images] == ["images/1.jpg"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no image"):
        read_yolo(str(tmp_path))
