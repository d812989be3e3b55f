"""Class folders in both layouts, and errors in user datasets."""

import cv2
import numpy as np
import pytest

from smallvit.datasets import ClassFolders
from smallvit.datasets.class_folders import choose_held_out, find_classes
from smallvit.errors import DataError

PIXELS = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PIXELS)


def files(dataset):
    root = dataset.data_root + "/"
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return {info["img_path"].removeprefix(root): info["gt_label"] for info in infos}


@pytest.fixture
def flat(tmp_path):
    """Ten images of dogs and five of cats."""
    fill(tmp_path / "dog", *(f"{number}.png" for number in range(10)))
    fill(tmp_path / "Cat", *(f"{number}.jpg" for number in range(5)))
    return tmp_path


@pytest.fixture
def split(tmp_path):
    for part in ("train", "val"):
        fill(tmp_path / part / "cat", f"{part}0.jpg", f"{part}1.JPEG")
        fill(tmp_path / part / "dog", f"{part}.webp")
    return tmp_path


#: Held-out images of the fixture `flat` with default settings.
HELD_OUT = {"Cat/2.jpg", "dog/2.png", "dog/6.png"}


class TestFlatFolder:
    def test_the_split_is_stratified_and_complete(self, flat):
        train, val = (files(ClassFolders(str(flat), name)) for name in ("train", "val"))
        assert find_classes(str(flat)) == ("Cat", "dog")
        assert np.bincount(list(train.values())).tolist() == [4, 8]
        assert np.bincount(list(val.values())).tolist() == [1, 2]
        assert not train.keys() & val.keys()
        for name, label in {**train, **val}.items():
            assert name.startswith(("Cat", "dog")[label])

    def test_the_split_never_changes(self, flat):
        # Results on a folder are only comparable while this holds.
        assert files(ClassFolders(str(flat), "val")).keys() == HELD_OUT
        names = [f"{number}.png" for number in range(10)]
        assert choose_held_out(names, 0.3, 7) == {"0.png", "1.png", "4.png"}

    def test_testing_uses_the_validation_images(self, flat):
        test, val = (files(ClassFolders(str(flat), name)) for name in ("test", "val"))
        assert test == val

    def test_another_seed_or_part_holds_out_others(self, flat):
        one, other = (files(ClassFolders(str(flat), "val", seed=seed)) for seed in (0, 1))
        assert one != other
        half = files(ClassFolders(str(flat), "val", held_out=0.5))
        assert np.bincount(list(half.values())).tolist() == [2, 5]
        assert half.keys() > one.keys()

    def test_other_classes_do_not_change_the_held_out_images(self, flat):
        before = files(ClassFolders(str(flat), "val"))
        fill(flat / "bird", "0.png", "1.png")
        after = files(ClassFolders(str(flat), "val"))
        assert before.keys() < after.keys()

    def test_each_class_keeps_an_image_on_both_sides(self, tmp_path):
        for name in ("a", "b"):
            fill(tmp_path / name, "0.png", "1.png")
        for part in (0.01, 0.99):
            train = files(ClassFolders(str(tmp_path), "train", held_out=part))
            assert sorted(train.values()) == [0, 1]

    def test_a_class_of_one_image_is_named(self, flat):
        fill(flat / "bird", "0.png")
        with pytest.raises(
            DataError, match=r"bird contains one image.*Add images, or create the folders"
        ):
            ClassFolders(str(flat))

    @pytest.mark.parametrize("part", [0, 1, -0.2, 20])
    def test_part_out_of_range(self, flat, part):
        with pytest.raises(ValueError, match=rf"held_out to be a fraction in \(0, 1\), got {part}"):
            ClassFolders(str(flat), held_out=part)

    def test_hidden_files_are_ignored(self, flat):
        fill(flat / ".ipynb_checkpoints", "0.png")
        fill(flat / "dog", "._0.png", ".cache/0.png")
        assert len(ClassFolders(str(flat))) == 12

    def test_a_class_may_be_named_train(self, flat):
        fill(flat / "train", "0.png", "1.png")
        assert find_classes(str(flat)) == ("Cat", "dog", "train")


class TestSplitFolders:
    def test_each_split_reads_its_folder(self, split):
        for name in ("train", "val"):
            names = files(ClassFolders(str(split), name))
            assert list(names.values()) == [0, 0, 1]
            assert all(path.startswith(f"{name}/") for path in names)

    def test_testing_uses_its_own_folder_or_val(self, split):
        assert all(name.startswith("val/") for name in files(ClassFolders(str(split), "test")))
        fill(split / "test" / "cat", "0.png")
        assert files(ClassFolders(str(split), "test")) == {"test/cat/0.png": 0}

    def test_without_val_a_part_of_train_is_held_out(self, flat):
        root = flat / "root"
        (root / "train").mkdir(parents=True)
        for name in ("Cat", "dog"):
            (flat / name).rename(root / "train" / name)
        fill(root / "test" / "dog", "new.png")
        assert len(ClassFolders(str(root), "train")) == 12
        validated = {f"train/{name}" for name in HELD_OUT}
        assert files(ClassFolders(str(root), "val")).keys() == validated
        assert set(files(ClassFolders(str(root), "test"))) == {"test/dog/new.png"}

    def test_images_in_deeper_folders_belong_to_the_class(self, split):
        fill(split / "train" / "dog", "at/night/0.png")
        assert files(ClassFolders(str(split)))["train/dog/at/night/0.png"] == 1

    def test_given_classes_define_the_labels(self, split):
        (split / "train").rename(split / "elsewhere")
        dataset = ClassFolders(str(split), "test", classes=["bird", "cat", "dog"])
        assert dataset.metainfo["classes"] == ("bird", "cat", "dog")
        assert list(files(dataset).values()) == [1, 1, 2]

    def test_images_are_read_by_mmpretrains_pipeline(self, split):
        pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
        sample = ClassFolders(str(split), "val", pipeline=pipeline)[2]
        assert sample["inputs"].shape == (3, 8, 8)
        assert sample["data_samples"].gt_label.item() == 1


def load(root):
    for name in ("train", "val", "test"):
        ClassFolders(str(root), name)


class TestMistakes:
    """Errors name the path and a fix."""

    def test_no_folder(self, tmp_path):
        with pytest.raises(
            DataError, match=r"folder .*nowhere does not exist\. Set data_root.*--cfg-o"
        ):
            load(tmp_path / "nowhere")

    def test_no_class_folder(self, tmp_path):
        fill(tmp_path, "0.png", "1.png")
        with pytest.raises(DataError, match=r"contains 2 files and no class folder\. Put"):
            load(tmp_path)

    def test_one_class_folder(self, tmp_path):
        fill(tmp_path / "only", "0.png")
        with pytest.raises(DataError, match=r"at least two class folders, got one \(only\)"):
            load(tmp_path)

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_an_empty_class_folder(self, split, part):
        (split / part / "cat" / f"{part}0.jpg").unlink()
        (split / part / "cat" / f"{part}1.JPEG").unlink()
        with pytest.raises(DataError, match=rf"{part}/cat is empty\. Add images, or remove it"):
            load(split)

    def test_files_of_other_kinds_only(self, flat):
        fill(flat / "bird", "0.heic", "1.heic", "2.txt")
        with pytest.raises(
            DataError, match=r"bird contains no image: .* got 3 files with \.heic, \.txt"
        ):
            load(flat)

    def test_class_folders_that_differ_in_case(self, flat):
        fill(flat / "cat", "0.png", "1.png")
        with pytest.raises(DataError, match=r"/Cat and .*/cat differ only in case\. Merge"):
            load(flat)

    def test_class_folders_that_differ_in_case_between_splits(self, split):
        (split / "val" / "dog").rename(split / "val" / "Dog")
        with pytest.raises(
            DataError, match=r"val/Dog: the name differs from class 'dog'.* Rename it"
        ):
            load(split)

    def test_a_class_folder_without_training_images(self, split):
        fill(split / "val" / "bird", "0.png")
        with pytest.raises(DataError, match=r"val/bird: unknown class 'bird', expected one of 2"):
            load(split)

    def test_a_trained_class_without_folder(self, split):
        with pytest.raises(DataError, match=r"train/bird is missing"):
            ClassFolders(str(split), classes=["bird", "cat", "dog"])

    @pytest.mark.parametrize("name", ["validation", "Val", "testing"])
    def test_a_split_of_another_name(self, split, name):
        (split / "val").rename(split / name)
        with pytest.raises(
            DataError, match=rf"/{name}: folders of splits must be named .*Rename it"
        ):
            load(split)

    def test_folders_too_deep(self, flat):
        fill(flat / "places" / "home" / "dog", "0.png")
        with pytest.raises(
            DataError, match=r"places contains folders instead of images\. Set data_root"
        ):
            load(flat)

    def test_no_training_images(self, split):
        (split / "train").rename(split / "elsewhere")
        with pytest.raises(DataError, match=r"/train is missing; it defines the classes"):
            load(split)
        with pytest.raises(DataError, match=r"/train is missing, and there is no train/"):
            ClassFolders(str(split), classes=["cat", "dog"])
