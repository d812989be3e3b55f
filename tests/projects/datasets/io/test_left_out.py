"""Skipped files of a dataset, counted by extension and reason."""

import shutil

import pytest
from mmpretrain.datasets import CustomDataset

from smallvit.datasets import ClassFolders
from smallvit.datasets.describe import describe, left_out_of
from smallvit.datasets.io.left_out import files_left_out
from tool_helpers import write_pictures

PIPELINE = [dict(type="LoadImageFromFile")]


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path)
    dark = tmp_path / "train/dark"
    for number, ending in enumerate(("jfif", "gif", "gif", "JPG", "webp", "avif")):
        shutil.copy(dark / "0.png", dark / f"more{number}.{ending}")
    (dark / "notes.txt").write_text("")
    (dark / "README").write_text("")
    (dark / ".hidden.gif").write_text("")
    for number in range(4):
        (dark / f"link{number}.png").symlink_to(tmp_path / "unmounted" / "a.png")
    (dark / "good.png").symlink_to(dark / "1.png")
    shutil.copy(dark / "0.png", tmp_path / "train/loose.png")
    return tmp_path


def test_reasons(folder):
    found = files_left_out(str(folder / "train"), (".png", ".jpg", ".webp"), in_class_folders=True)
    assert found.counts == {
        ".jfif": 1,
        ".gif": 2,
        ".avif": 1,
        ".txt": 1,
        "files without an extension": 1,
        "broken links": 4,
        "images outside of the class folders": 1,
    }
    assert found.images == 9
    assert "4 broken links (" in found.text()
    assert "link2.png, ...)" in found.text()
    assert files_left_out(str(folder / "train"), (".png",), match_case=True).counts[".JPG"] == 1
    assert files_left_out("nowhere", (".png",)).counts == {}


@pytest.mark.parametrize("kind", ["folders", "custom"])
def test_a_run_reports_skipped_files(kind, folder):
    if kind == "folders":
        dataset = ClassFolders(str(folder), pipeline=PIPELINE)
    else:
        dataset = CustomDataset(data_root=str(folder), data_prefix="train", pipeline=PIPELINE)
    (usage,) = describe(dataset, "train", 2)
    (warning,) = [text for text in usage.warnings if "skipped files" in text]
    assert "4 broken links" in warning
    assert "2 .gif" in warning
    assert "1 .jfif" in warning
    assert ("1 .webp" in warning) == (kind == "custom")
    assert usage.faults == []


def test_other_files_are_a_note(folder):
    (usage,) = describe(ClassFolders(str(folder), split="test", pipeline=PIPELINE), "test")
    assert usage.warnings == usage.notes == []
    (folder / "test/dark/list.csv").write_text("")
    (usage,) = describe(ClassFolders(str(folder), split="test", pipeline=PIPELINE), "test")
    assert usage.warnings == []
    assert usage.notes == [f"skipped files: 1 .csv ({folder}/test/dark/list.csv)"]


def test_files_of_held_out_images_are_counted_once(folder):
    shutil.rmtree(folder / "test")
    held_out = ClassFolders(str(folder), split="val", pipeline=PIPELINE)
    assert left_out_of(held_out) is None


def test_listed_images_that_are_not_there(folder):
    listed = "dark/0.png 0\ndark/99.png 0\nbright/0.png 1\n"
    (folder / "train.txt").write_text(listed)
    settings = dict(data_prefix="train", ann_file="train.txt", pipeline=PIPELINE)
    (usage,) = describe(CustomDataset(data_root=str(folder), **settings), "train")
    assert usage.faults == []
    assert any("1 of 3 images are missing, e.g." in text for text in usage.warnings)
    settings["data_prefix"] = "elsewhere"
    (usage,) = describe(CustomDataset(data_root=str(folder), **settings), "train")
    assert "3 of 3 images are missing" in str(usage.faults[0])
