import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from config_helpers import ROOT
from tool_helpers import load_tool, run_main, write_pictures, write_tiny_config

tool = load_tool("misc/verify_dataset.py")
pack = load_tool("dataset_converters/folder2lmdb.py")


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_config(tmp_path)


@pytest.fixture
def scenes(digit_scenes, tmp_path):
    """A copy of the scenes that a test may modify."""
    return shutil.copytree(digit_scenes, tmp_path / "scenes")


def verify(*options):
    return run_main(tool.main, "--workers", 0, *options)


def findings(tmp_path, *options):
    """Return the findings by split: kind, file name and reason."""
    file = tmp_path / "found.json"
    status = verify("--overwrite", "--json", file, *options)
    data = json.loads(file.read_text())["data"]
    assert status == (1 if any(part["findings"] for part in data.values()) else 0)
    return {
        split: [
            (one["kind"], os.path.basename(one["path"]), one["reason"]) for one in part["findings"]
        ]
        for split, part in data.items()
    }


def on(scenes):
    loaders = ("train", "val", "test")
    return ["--cfg-options", *(f"{one}_dataloader.dataset.data_root={scenes}/" for one in loaders)]


def test_good_data(tiny, tmp_path, capsys):
    assert findings(tmp_path, tiny) == {"train": [], "val": []}
    out = capsys.readouterr().out
    assert "test: same data as val" in out
    assert "train: 16 samples, no problems" in out
    assert "val: 10 samples, no problems" in out


def test_good_data_in_memory(tmp_path):
    config = ROOT / "configs/dwnet/dwnet-mini_digits.py"
    assert findings(tmp_path, config, "--split", "val", "test") == {"val": [], "test": []}


def test_files_of_a_classifier(tiny, tmp_path, capsys):
    train, test = tmp_path / "data/train", tmp_path / "data/test"
    os.truncate(train / "dark/1.png", 300)
    (train / "dark/2.png").write_bytes(b"")
    (train / "dark/3.png").write_text("no image")
    shutil.copy(train / "dark/0.png", train / "bright/copy.png")
    shutil.copy(train / "dark/5.png", train / "dark/copy.png")  # the same label
    shutil.copy(train / "dark/6.png", test / "bright/copy.png")
    found = findings(tmp_path, tiny, "--workers", 2)
    assert found["train"] == [
        ("mislabeled", "0.png", f"label 1, but label 0 for the same content in {train}/bright/copy"
         ".png"),
        ("unreadable", "1.png", "truncated PNG (300 bytes, no end chunk)"),
        ("unreadable", "2.png", "empty file"),
        ("unreadable", "3.png", "not an image that cv2 reads"),
    ]  # fmt: skip
    ((kind, name, reason),) = found["val"]
    assert (kind, name) == ("mislabeled", "copy.png")
    assert reason == f"label 0, but label 1 for the same content in {train}/dark/6.png"
    out = capsys.readouterr().out
    assert f"train: unreadable: {train}/dark/2.png: empty file" in out
    assert "train: 18 samples, 1 mislabeled, 3 unreadable" in out


def test_annotations_of_a_classifier(tiny, tmp_path):
    lines = ["dark/0.png 1", "dark/99.png 1", "bright/0.png 2", "bright/1.png 0"]
    (tmp_path / "data/list.txt").write_text("\n".join(lines))
    found = findings(
        tmp_path,
        *(tiny, "--split", "train", "--cfg-options"),
        *("train_dataloader.dataset.ann_file=list.txt",),
    )
    assert found["train"] == [
        ("missing", "99.png", "no such file"),
        ("mislabeled", "0.png", "label 2 is not one of 0 to 1"),
    ]
    found = findings(
        tmp_path,
        *(tiny, "--split", "train", "--cfg-options"),
        "train_dataloader.dataset.ann_file=list.txt",
        "train_dataloader.dataset.metainfo.classes=a,b,c,d",
        "data_preprocessor.num_classes=4",
    )
    assert ("missing", "list.txt", "no image of class 'd'") in found["train"]


def test_wrapped_data(tiny, tmp_path):
    text = tiny.read_text().replace(
        'test_evaluator = val_evaluator',
        'test_evaluator = val_evaluator\n'
        'both = [train_dataloader["dataset"], val_dataloader["dataset"]]\n'
        'train_dataloader["dataset"] = dict(\n'
        '    type="RepeatDataset", times=2, dataset=dict(type="ConcatDataset", datasets=both)\n'
        ')\n',
    )  # fmt: skip
    tiny.write_text(text)
    os.truncate(tmp_path / "data/test/dark/1.png", 300)
    found = findings(tmp_path, tiny, "--split", "train")
    assert [(kind, name) for kind, name, _ in found["train"]] == [("unreadable", "1.png")]


def test_subsets_of_samples(tiny, tmp_path, capsys):
    inner = f'dict(type="CustomDataset", data_root=r"{tmp_path}/data/train", pipeline=pipeline)'
    part = f'dict(type="smallvit.Subset", samples_per_class=3, dataset={inner})'
    tiny.write_text(f'{tiny.read_text()}\ntrain_dataloader["dataset"] = {part}\n')
    assert findings(tmp_path, tiny, "--split", "train")["train"] == []
    assert "train: 6 samples" in capsys.readouterr().out
    for path in (tmp_path / "data/train/dark").iterdir():
        os.truncate(path, 300)
    found = findings(tmp_path, tiny, "--split", "train")["train"]
    assert len(found) == 3
    assert {kind for kind, *_ in found} == {"unreadable"}


def test_a_store(tiny, tmp_path, capsys):
    folder, store = tmp_path / "data/train", tmp_path / "train.lmdb"
    shutil.copy(folder / "dark/0.png", folder / "bright/copy.png")
    assert run_main(pack.main, folder, store, "--workers", 0) == 0
    capsys.readouterr()
    found = findings(tmp_path, "--folder", store)
    assert [(kind, name) for kind, name, _ in found["train.lmdb"]] == [("mislabeled", "0.png")]

    with open(store / "annotations.txt", "a") as file:
        file.write("dark/99.png 1\n")
    loader = "train_dataloader.dataset"
    found = findings(
        tmp_path,
        *(tiny, "--split", "train", "--workers", 2, "--cfg-options"),
        *(f"{loader}.data_root=", f"{loader}.data_prefix="),
        f"{loader}.ann_file={store}/annotations.txt",
        f"{loader}.pipeline.0.backend_args.backend=lmdb",
        f"{loader}.pipeline.0.backend_args.db_path={store}",
    )
    (_, (kind, name, reason)) = found["train"]
    assert (kind, name) == ("missing", "99.png")
    assert f"{store} has no key 'dark/99.png'" in reason


def test_a_table_of_labels(tmp_path, capsys):
    write_pictures(tmp_path)
    names = sorted((tmp_path / "train").rglob("*.png"))
    lines = [
        f"{path},{path.parent.name}{';small' if n % 3 else ''}" for n, path in enumerate(names)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]))
    assert verify("--folder", tmp_path / "labels.csv") == 0
    assert "no problems" in capsys.readouterr().out
    names[0].write_bytes(names[0].read_bytes()[:60])
    assert verify("--folder", tmp_path / "labels.csv") == 1
    assert str(names[0]) in capsys.readouterr().out


def test_class_folders(tmp_path, capsys):
    write_pictures(tmp_path)
    assert verify("--folder", tmp_path / "train") == 0
    out = capsys.readouterr().out
    assert "train: 12 samples, no problems" in out
    assert "val: 4 samples, no problems" in out
    assert verify("--folder", tmp_path) == 0
    out = capsys.readouterr().out
    assert "train: 12 samples, no problems" in out  # a quarter is held out for validation
    assert "test: 10 samples, no problems" in out
    (tmp_path / "train/empty").mkdir()
    assert verify("--folder", tmp_path / "train") == 1
    assert "train/empty is empty. Add images" in capsys.readouterr().err
    (tmp_path / "train/empty").rmdir()
    (tmp_path / "train/Dark").mkdir()
    assert verify("--folder", tmp_path / "train") == 1
    assert "differ only in case. Merge them, or rename one" in capsys.readouterr().err
    assert verify("--folder", tmp_path / "train/dark") == 1
    assert "no class folder" in capsys.readouterr().err


def test_splits_of_class_folders(tmp_path):
    write_pictures(tmp_path)
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.move(test, tmp_path / "val")
    shutil.copy(train / "dark/0.png", train / "bright/copy.png")
    shutil.copy(train / "dark/1.png", tmp_path / "val/dark/leak.png")
    cut = cv2.imencode(".webp", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    (train / "bright/cut.webp").write_bytes(cut[: len(cut) // 2])
    shutil.copy(train / "dark/2.png", train / "dark/picture.jfif")
    (train / "dark/list.txt").write_text("no image")
    (train / "dark/gone.png").symlink_to(tmp_path / "nowhere.png")
    shutil.copy(train / "dark/3.png", train / "loose.png")
    found = findings(tmp_path, "--folder", tmp_path)
    assert sorted(found["train"]) == [
        ("left out", "loose.png", "left out: images outside of the class folders"),
        ("left out", "picture.jfif", "left out: .jfif"),
        ("mislabeled", "0.png", "label 1, but label 0 for the same content in "
         f"{train}/bright/copy.png"),
        ("missing", "gone.png", "left out: broken links"),
        ("unreadable", "cut.webp", "not an image that cv2 reads"),
    ]  # fmt: skip
    assert found["val"] == [
        ("repeated", "leak.png", f"the same content is in train: {train}/dark/1.png")
    ]


def test_images_that_are_read_differently_than_intended(tmp_path):
    write_pictures(tmp_path)
    dark = tmp_path / "train/dark"
    deep = np.full((16, 16), 3000, np.uint16)
    cv2.imwrite(str(dark / "deep.png"), deep)
    pages = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (10, 20, 30)]
    pages[0].save(dark / "pages.tif", save_all=True, append_images=pages[1:])
    clear = np.zeros((16, 16, 4), np.uint8)
    clear[:8] = (90, 10, 200, 0)
    Image.fromarray(clear).save(dark / "clear.png")
    found = [one for split in findings(tmp_path, "--folder", tmp_path).values() for one in split]
    reasons = {name: reason for kind, name, reason in found if kind == "misread"}
    assert set(reasons) == {"deep.png", "pages.tif", "clear.png"}
    assert "uint16 values from 3000 to 3000 in a file of 16 bits per value" in reasons["deep.png"]
    assert "12 gray levels" in reasons["deep.png"]
    assert reasons["pages.tif"] == "has several pages, of which only the first is read"
    assert "hidden colors" in reasons["clear.png"]


def test_good_scenes(scenes, tmp_path):
    config = ROOT / "configs/dwnet/dwnet-mini_digits-det.py"
    assert findings(tmp_path, config, *on(scenes)) == {"train": [], "val": []}
    config = ROOT / "configs/dwnet/dwnet-mini_digits-seg.py"
    rare = ("missing", "training", "no pixel of class '0' in 8 maps")
    assert findings(tmp_path, config, *on(scenes)) == {"train": [rare], "val": []}


def test_boxes_and_categories(scenes, tmp_path):
    images, file = scenes / "images/training", scenes / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    size = content["images"][0]["height"]
    first = {
        one["image_id"]: number for number, one in reversed([*enumerate(content["annotations"])])
    }
    boxes = [content["annotations"][first[image_id]] for image_id in (1, 2, 3, 4)]
    boxes[0]["bbox"] = [size - 3, 5, 10, 10]
    boxes[1]["bbox"][2] = 0
    boxes[2]["category_id"] = 77
    boxes[3]["image_id"] = 999
    content["images"][4]["height"] += 7
    content["categories"].pop()
    for one in content["annotations"]:
        one["category_id"] = 1 if one["category_id"] == 10 else one["category_id"]
    file.write_text(json.dumps(content))
    (images / "000006.png").unlink()
    os.truncate(images / "000007.png", 500)
    config = ROOT / "configs/dwnet/dwnet-mini_digits-det.py"
    found = findings(tmp_path, config, "--split", "train", *on(scenes))["train"]
    annotations = [one["id"] for one in boxes]
    assert sorted(found) == sorted([
        ("mislabeled", file.name, "has no category '9', which metainfo.classes contains. "
         "Categories of the file: 0, 1, 2, 3, 4, 5, 6, 7, 8; classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, "
         "9. Set metainfo=dict(classes=(...)) of the dataset to categories of the file"),
        ("mislabeled", "000001.png", f"annotation {annotations[0]}: box [{size - 3}, 5, 10, 10] "
         f"extends beyond the image of {size}x{size} pixels"),
        ("mislabeled", "000002.png", f"annotation {annotations[1]}: not trained: box smaller than "
         f"a pixel (bbox {boxes[1]['bbox']}, area {boxes[1]['area']})"),
        ("mislabeled", "000003.png", f"annotation {annotations[2]}: category 77 is not in the "
         "file"),
        ("mislabeled", file.name, f"annotation {annotations[3]}: image 999 is not in the file"),
        *(("mislabeled", "000005.png", f"annotation {one['id']}: its mask: RLE mask whose "
         "size differs from the image") for one in content["annotations"] if one["image_id"] == 5),
        ("mislabeled", "000005.png", f"{size}x{size} pixels, but {size}x{size + 7} in the "
         "annotation file"),
        ("missing", "000006.png", "no such file"),
        ("unreadable", "000007.png", "truncated PNG (500 bytes, no end chunk)"),
    ])  # fmt: skip


def test_label_maps(scenes, tmp_path):
    maps = scenes / "annotations/training"
    labels = cv2.imread(str(maps / "000001.png"), cv2.IMREAD_UNCHANGED)
    labels[0, 0], labels[0, 1], labels[0, 2] = 11, 200, 255
    cv2.imwrite(str(maps / "000001.png"), labels)
    cv2.imwrite(str(maps / "000002.png"), np.zeros((20, 30), np.uint8))
    cv2.imwrite(str(maps / "000003.png"), np.zeros((64, 64, 3), np.uint8))
    (maps / "000004.png").unlink()
    os.truncate(maps / "000005.png", 60)
    config = ROOT / "configs/dwnet/dwnet-mini_digits-seg.py"
    found = [
        (kind, name, re.split(r" \(0 b|: |\. ", reason)[0])
        for kind, name, reason in findings(tmp_path, config, "--split", "train", *on(scenes))[
            "train"
        ]
        if not reason.startswith("no pixel of class")
    ]
    assert found == [
        ("mislabeled", "000001.png", "values 11, 200 are outside of 0 to 10"),
        ("mislabeled", "000002.png", "is 30x20 pixels, but 64x64 in "
         f"{scenes}/images/training/000002.png"),
        ("mislabeled", "000003.png", "expected one label per pixel, got 3 channels (RGB)"),
        ("missing", "000004.png", "no such file"),
        ("unreadable", "000005.png", "truncated PNG (60 bytes, no end chunk)"),
    ]  # fmt: skip


def test_maps_with_reduce_zero_label(scenes, tmp_path):
    """As in ADE20K: 0 is the background without class, and classes start at 1."""
    config = tmp_path / "ade.py"
    base = (ROOT / "configs/dwnet/dwnet-mini_digits-seg.py").as_posix()
    classes = dict(_delete_=True, classes=tuple("0123456789"))
    dataset = dict(reduce_zero_label=True, metainfo=classes)
    config.write_text(f"_base_ = {base!r}\nval_dataloader = dict(dataset={dataset})\n")
    labels = scenes / "annotations/validation/000001.png"
    assert 0 in cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
    options = (config, "--split", "val", *on(scenes))
    assert findings(tmp_path, *options)["val"] == []
    cv2.imwrite(str(labels), np.full((64, 64), 11, np.uint8))
    ((kind, name, reason),) = findings(tmp_path, *options)["val"]
    assert (kind, name) == ("mislabeled", "000001.png")
    assert reason.startswith("values 11 are outside of 1 to 10 (1 0, 2 1,")


def test_mistakes(tiny, tmp_path, capsys):
    assert verify() == 2
    assert "either a config or --folder" in capsys.readouterr().err
    assert verify("--folder", tmp_path, "--split", "val") == 2
    assert verify("--folder", tmp_path / "nowhere") == 1
    assert "no such folder" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "data/train")
    assert verify(tiny) == 1
    assert "error: no such file or folder" in capsys.readouterr().err
