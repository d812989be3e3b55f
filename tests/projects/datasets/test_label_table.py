"""Label tables: CSV files with file names and labels."""

import os.path as osp

import numpy as np
import pytest
from PIL import Image

from smallvit.datasets import LabelTable
from smallvit.datasets.recognition import Fold, recognize
from smallvit.errors import DataError, UserError


@pytest.fixture
def table(tmp_path):
    """Ten images, and a function that writes a table for them."""
    (tmp_path / "images").mkdir()
    for number in range(10):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(
            tmp_path / f"images/{number}.png"
        )

    def write(text):
        (tmp_path / "labels.csv").write_text(text)
        return str(tmp_path / "labels.csv")

    return write


def lines(*labels, head="file,label"):
    return "\n".join([head, *(f"{number}.png,{label}" for number, label in enumerate(labels))])


def names(dataset):
    return [dataset.get_data_info(i)["img_path"].split("/")[-1] for i in range(len(dataset))]


def labels(dataset):
    return [dataset.get_cat_ids(i) for i in range(len(dataset))]


def test_one_label_per_image(table):
    path = table(lines(*"abababababa"[:10]))
    train, val, test = (LabelTable(path, split=split) for split in ("train", "val", "test"))
    assert train.metainfo["classes"] == ("a", "b")
    assert (len(train), len(val)) == (8, 2)
    assert sorted(names(train) + names(val)) == [f"{number}.png" for number in range(10)]
    assert names(test) == names(val)
    assert labels(train) == [[int(name[0]) % 2] for name in names(train)]
    assert isinstance(train.get_data_info(0)["gt_label"], int)


def test_a_table_below_a_data_root(table):
    path = table(lines(*"ababababab"))
    root, name = osp.split(path)
    assert names(LabelTable(name, data_root=root)) == names(LabelTable(path))


def test_several_labels_and_none(table):
    path = table(lines("x;y", "x", '"y, x"', "", "y|z", *["x"] * 5))
    found = {}
    for split in ("train", "val"):
        dataset = LabelTable(path, split=split)
        found |= dict(zip(names(dataset), labels(dataset), strict=True))
    assert [found[f"{number}.png"] for number in range(5)] == [[0, 1], [0], [0, 1], [], [1, 2]]


def test_a_column_for_each_class(table):
    head = "Image,split,night,rain"
    rows = [f"{n},{'val' if n > 7 else 'train'},{n % 2},{int(n in (1, 9))}" for n in range(10)]
    path = table("\n".join([head, *rows]))
    val = LabelTable(path, split="val")
    assert val.metainfo["classes"] == ("night", "rain")
    assert (names(val), labels(val)) == (["8.png", "9.png"], [[], [0, 1]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,label\n0.png,a", "none of the columns (name, label)"),
        ("file,label", "no row below the header"),
        (lines("a", "b") + "\n5.png", "line 4: expected 2 values"),
        (lines("a", "b") + "\n0.png,a", "line 4: images/0.png is a duplicate of line 2"),
        (lines("a", "b") + "\n77.png,a\n78.png,a", "line 4: 77.png not found"),
        (lines("a;a", "b"), "line 2: 'a;a' contains a class twice"),
        (lines("a", "a"), "at least two classes, got 1"),
        ("file,label,note\n0.png,a,x", "beside label: note"),
        ("file,night,rain\n0.png,1,maybe", "line 2: expected 0 or 1 in column rain, got 'maybe'"),
        ("file,label,split\n0.png,a,train\n1.png,b,later", "got 'later'"),
        ("file,label,split\n0.png,a,train\n1.png,c,train\n2.png,b,val", "no training image"),
    ],
)
def test_mistakes_are_named(table, text, said):
    with pytest.raises(DataError) as caught:
        LabelTable(table(text))
    assert said in str(caught.value)


def test_a_table_that_changed_is_read_again(table):
    assert LabelTable(table(lines("a", "b"))).metainfo["classes"] == ("a", "b")
    assert LabelTable(table(lines("a", "b", "c"))).metainfo["classes"] == ("a", "b", "c")


class TestOwnData:
    def test_is_recognized_and_its_split_stored(self, table, tmp_path):
        path = table(lines(*"ababababa"))
        data = recognize(path, str(tmp_path / "out"))
        assert (data.form, data.table, data.several) == ("folder", path, False)
        assert data.images == {"train": 7, "val": 2}
        assert data.lines()[0].startswith("recognized: label table, one label per image")
        listed = LabelTable(path, listed=data.lists["val"])
        assert names(listed) == names(LabelTable(path, split="val"))
        # Images added later do not move others to a different split.
        table(lines(*"ababababab"))
        assert names(LabelTable(path, listed=data.lists["val"])) == names(listed)

    def test_every_class_has_training_images(self, table, tmp_path):
        for text in ("aabbccddee", "aaaaaaaabb"):
            data = recognize(table(lines(*text)), str(tmp_path / text))
            assert all(data.counts[split][name] for split in ("train", "val") for name in text)

    def test_a_class_of_one_image_cannot_be_held_out(self, table, tmp_path):
        path = table(lines(*"aab"))
        with pytest.raises(DataError, match=r"class 'b' has one image.*column split"):
            recognize(path, str(tmp_path))
        assert labels(LabelTable(path, split="train")) == [[0], [1]]

    def test_folds_split_the_training_images(self, table, tmp_path):
        path = table(lines(*"ababababab"))
        parts = [
            LabelTable(path, listed=recognize(path, str(tmp_path), fold=Fold(k, 5)).lists["val"])
            for k in range(1, 6)
        ]
        assert sorted(name for part in parts for name in names(part)) == [
            f"{number}.png" for number in range(10)
        ]

    def test_incompatible_flags_are_rejected(self, table, tmp_path):
        path = table(lines(*"ab"))
        with pytest.raises(UserError, match="--void-id 3 requires label maps"):
            recognize(path, str(tmp_path), void=3)
        several = table(lines("a;b", "a"))
        with pytest.raises(UserError, match=r"--folds .* has several\. Add a column split"):
            recognize(several, str(tmp_path), fold=Fold(1, 2))
        with pytest.raises(UserError, match="--data-layout coco"):
            recognize(path, str(tmp_path), layout="coco")
        with pytest.raises(UserError, match="--data-layout table"):
            recognize(str(tmp_path), str(tmp_path), layout="table")


def test_tables_as_spreadsheets_write_them(table):
    """Semicolons between the columns, a byte order mark, and Windows' line ends."""
    text = lines(*["a|b", "a,b"] * 5, head="image_id,label").replace(".png,", ".png;")
    path = table("\ufeff" + text.replace("image_id,", "image_id;").replace("\n", "\r\n"))
    train = LabelTable(path, split="train")
    assert train.metainfo["classes"] == ("a", "b")
    assert all(label == [0, 1] for label in labels(train))


def test_an_encoding_other_than_utf8_is_named(table):
    path = table("")
    with open(path, "wb") as file:
        file.write(lines("Hütte", "b").encode("latin-1"))
    with pytest.raises(DataError, match=r"not encoded in UTF-8 .* Save it as CSV UTF-8"):
        LabelTable(path, split="train")
