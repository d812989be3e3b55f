"""Dataset inspection by the bench."""

import cv2
import numpy as np
import pytest

from smallvit.bench.worker import describe


def write(folder, count, size=(30, 40)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*size, 3), number, np.uint8))


def silent(progress):
    raise AssertionError("nothing to report")


def test_digits():
    found = describe("digits", silent)
    assert found["classes"] == list("0123456789")
    assert [sum(found["counts"][split]) for split in ("train", "val", "test")] == [1247, 190, 360]
    assert not found["same_images"]
    assert found["image_size"] == 32


def test_unsplit_class_folders_are_split(tmp_path):
    write(tmp_path / "ant", 5)
    write(tmp_path / "bee", 10)
    found = describe(str(tmp_path), silent)
    assert found["counts"] == {"train": [4, 8], "val": [1, 2], "test": [1, 2]}
    assert found["same_images"]
    assert "held out" in found["tested_on"]


def test_folders_of_splits_are_kept_apart(tmp_path):
    for split, count in (("train", 3), ("val", 2), ("test", 4)):
        write(tmp_path / split / "ant", count)
        write(tmp_path / split / "bee", count)
    found = describe(str(tmp_path), silent)
    assert found["counts"] == {"train": [3, 3], "val": [2, 2], "test": [4, 4]}
    assert (found["selected_on"], found["tested_on"]) == ("val/", "test/")
    assert not found["same_images"]


@pytest.mark.parametrize(("side", "fitting"), [(28, 32), (64, 64), (100, 224), (500, 224)])
def test_the_size_fits_most_images(tmp_path, side, fitting):
    write(tmp_path / "ant", 4, (side, 2 * side))
    write(tmp_path / "bee", 3, (side, side))
    write(tmp_path / "cat", 2, (1000, 9))
    assert describe(str(tmp_path), silent)["image_size"] == fitting


def test_different_images_are_different_data(tmp_path):
    write(tmp_path / "ant", 5)
    write(tmp_path / "bee", 5)
    before = describe(str(tmp_path), silent)
    assert describe(str(tmp_path), silent) == before
    (tmp_path / "ant" / "0.png").rename(tmp_path / "ant" / "00.png")
    assert describe(str(tmp_path), silent)["fingerprints"] != before["fingerprints"]


def test_replaced_images_of_the_same_name_are_different_data(tmp_path):
    write(tmp_path / "ant", 5)
    write(tmp_path / "bee", 5)
    before = describe(str(tmp_path), silent)
    write(tmp_path / "ant", 5, (400, 400))
    assert describe(str(tmp_path), silent)["fingerprints"] != before["fingerprints"]
