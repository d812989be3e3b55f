import shutil

import pytest
from mmengine.registry import DATASETS, init_default_scope

from tool_helpers import load_tool, run_main, write_pictures

tool = load_tool("dataset_converters/domainnet_lists.py")
CLASSES = ("bright", "dark")


@pytest.fixture
def root(tmp_path):
    """Two domains with two classes, in the layout of DomainNet and with its lists."""
    write_pictures(tmp_path / "pictures")
    for domain in ("clipart", "sketch"):
        for split in ("train", "test"):
            lines = []
            for label, name in enumerate(CLASSES):
                for path in sorted((tmp_path / "pictures" / split / name).iterdir()):
                    target = tmp_path / domain / name / f"{domain}_{split}_{path.name}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, target)
                    lines.append(f"{target.relative_to(tmp_path).as_posix()} {label}\n")
            (tmp_path / f"{domain}_{split}.txt").write_text("".join(lines))
    shutil.rmtree(tmp_path / "pictures")
    return tmp_path


def run(root, *options):
    return run_main(tool.main, root, *options)


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_lists_are_annotation_files(root, capsys):
    assert run(root, "--check") == 0
    assert "clipart_train.txt: 16 images" in capsys.readouterr().out
    assert (root / "meta/classes.txt").read_text().split() == list(CLASSES)
    init_default_scope("mmpretrain")
    for domain in ("clipart", "sketch"):
        for split, count in (("train", 16), ("test", 10)):
            data = DATASETS.build(
                dict(
                    type="CustomDataset",
                    data_root=str(root),
                    ann_file=f"meta/{domain}_{split}.txt",
                    classes=str(root / "meta/classes.txt"),
                    pipeline=[dict(type="LoadImageFromFile")],
                )
            )
            assert len(data) == count
            for sample in data:
                assert data.CLASSES[sample["gt_label"]] == sample["img_path"].split("/")[-2]
                assert sample["img_shape"] == (16, 16)


def test_chosen_domains_and_folder(root, tmp_path):
    out = tmp_path / "lists"
    assert run(root, "--domains", "sketch", "--out", out) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["classes.txt", "sketch_test.txt", "sketch_train.txt"]


def test_missing_files_are_listed(root, capsys):
    (root / "clipart/dark/clipart_test_3.png").unlink()
    assert run(root, "--check") == 1
    captured = capsys.readouterr()
    assert captured.out == f"missing: {root}/clipart/dark/clipart_test_3.png\n"
    assert "1 listed files are missing" in captured.err
    assert not (root / "meta").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dark/sketch_train_0.png 1", "dark/sketch_train_0.png 0", "but 'bright' in"),
        ("dark/sketch_train_0.png 1", "gray/sketch_train_0.png 1", "is 'gray' (sketch/gray"),
        ("sketch/dark/sketch_train_0.png 1", "dark/0.png 1", "'dark/0.png' is not of the form"),
        ("sketch/dark/sketch_train_0.png 1", "sketch/dark/0.png", "expected 'path label'"),
        ("sketch_train_0.png 1", "sketch_test_0.png 1", "sketch/dark/sketch_test_0.png is in"),
        (" 1\n", " 3\n", "'dark' has label 3 (sketch/dark/sketch_train_0.png), but 1 in"),
    ],
)
def test_mistakes_in_lists(root, capsys, old, new, message):
    rewrite(root / "sketch_train.txt", old, new)
    assert run(root) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "sketch_t" in error
    assert not (root / "meta").exists()


def test_labels_without_images(root, capsys):
    for path in root.glob("*.txt"):
        rewrite(path, " 1\n", " 3\n")
    assert run(root) == 1
    assert "no image has label 1, 2" in capsys.readouterr().err


def test_the_lists_are_not_overwritten(root, capsys):
    before = (root / "clipart_train.txt").read_text()
    assert run(root, "--out", root) == 1
    assert "contains the input lists" in capsys.readouterr().err
    assert (root / "clipart_train.txt").read_text() == before


def test_no_lists(tmp_path, capsys):
    assert run(tmp_path) == 1
    assert "contains no list such as clipart_train.txt" in capsys.readouterr().err
    assert run(tmp_path, "--domains", "clipart") == 1
    assert (
        "clipart_train.txt: cannot be read (No such file or directory)" in capsys.readouterr().err
    )
