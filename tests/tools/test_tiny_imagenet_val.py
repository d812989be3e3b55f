import os
import shutil

import pytest
from mmpretrain.datasets import CustomDataset

from smallvit.datasets import TinyImageNet
from tool_helpers import load_tool, run_main

tool = load_tool("dataset_converters/tiny_imagenet_val.py")
IDENTIFIERS = ("n02", "n01", "n03")


@pytest.fixture
def root(tmp_path):
    """Layout of the archive with nine validation images of three classes."""
    root = tmp_path / "tiny"
    (root / "val/images").mkdir(parents=True)
    (root / "wnids.txt").write_text("".join(f"{one}\n" for one in IDENTIFIERS))
    lines = []
    for number in range(9):
        name = f"val_{number}.JPEG"
        (root / "val/images" / name).write_bytes(b"image %d" % number)
        lines.append(f"{name}\t{IDENTIFIERS[number % 3]}\t0\t0\t62\t62\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    return root


def images(root):
    return sorted(os.listdir(root / "val/images"))


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.JPEG")
    }


WANTED = {f"{IDENTIFIERS[n % 3]}/val_{n}.JPEG": b"image %d" % n for n in range(9)}


@pytest.mark.parametrize("mode", ["link", "copy", "move"])
def test_modes(root, mode, capsys):
    names = images(root)
    assert run_main(tool.main, root, "--mode", mode) == 0
    assert "9 images of 3 classes" in capsys.readouterr().out
    out = root / "val_folders"
    assert content(out) == WANTED
    assert images(root) == ([] if mode == "move" else names)
    if mode != "move":
        same = os.path.samefile(out / "n01/val_1.JPEG", root / "val/images/val_1.JPEG")
        assert same == (mode == "link")
    assert not (root / "val_folders.partial").exists()


def test_same_samples_as_from_the_archive(root, tmp_path):
    out = tmp_path / "folders"
    assert run_main(tool.main, root, out) == 0
    folders = CustomDataset(data_root=str(out), extensions=(".jpeg",))
    archive = TinyImageNet(str(root), split="val")
    found = [
        {os.path.basename(info["img_path"]): info["gt_label"] for info in data}
        for data in (folders, archive)
    ]
    assert found[0] == found[1]
    assert folders.CLASSES == archive.CLASSES


def test_files_are_copied_where_links_are_not_supported(root, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert run_main(tool.main, root) == 0
    assert content(root / "val_folders") == WANTED
    assert sorted(os.listdir(root / "val_folders")) == sorted(IDENTIFIERS)


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_interrupted_and_continued(root, monkeypatch, capsys, mode):
    copy, rename, count = shutil.copyfile, os.rename, 0

    def cut(origin, target):
        """Emulate a kill while the fourth file is written."""
        nonlocal count
        count += 1
        if count == 4:
            if mode == "copy":
                target_file = open(target, "wb")  # noqa: SIM115  # a kill would not close it
                target_file.write(b"half")
                target_file.close()
            raise KeyboardInterrupt
        return copy(origin, target) if mode == "copy" else rename(origin, target)

    with monkeypatch.context() as patch:
        patch.setattr(*((shutil, "copyfile", cut) if mode == "copy" else (os, "rename", cut)))
        assert run_main(tool.main, root, "--mode", mode) == 130
    assert not (root / "val_folders").exists()
    capsys.readouterr()
    assert run_main(tool.main, root) == 0  # also in another mode
    assert "resuming: 3 of 9 images are in place" in capsys.readouterr().out
    assert content(root / "val_folders") == WANTED
    assert sorted(os.listdir(root / "val_folders")) == sorted(IDENTIFIERS)


def test_missing_images(root, capsys):
    (root / "val/images/val_4.JPEG").unlink()
    assert run_main(tool.main, root) == 1
    assert "1 images are missing, such as" in capsys.readouterr().err
    assert not list(root.glob("val_folders*"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("val_4.JPEG\tn01", "val_4.JPEG\tn09", "line 5: class 'n09' is not in wnids.txt"),
        ("val_4.JPEG", "val_3.JPEG", "line 5: val_3.JPEG is listed twice"),
        (
            "val_4.JPEG",
            "../../../thesis.tex",
            "line 5: expected a file or folder name, got the path '../../../thesis.tex'",
        ),
        ("n03", "n01", "has no image of n03 (1 classes)"),
    ],
)
def test_mistakes_in_the_table(root, capsys, old, new, message):
    table = root / "val/val_annotations.txt"
    table.write_text(table.read_text().replace(old, new))
    assert run_main(tool.main, root) == 1
    assert message in capsys.readouterr().err


def test_nothing_outside_of_the_folder_is_moved(root, capsys):
    (root.parent / "thesis.tex").write_text("mine")
    table, classes = root / "val/val_annotations.txt", root / "wnids.txt"
    classes.write_text(classes.read_text().replace("n03", "../../out"))
    table.write_text(table.read_text().replace("n03", "../../out"))
    assert run_main(tool.main, root, "--mode", "move") == 1
    assert "got the path '../../out'" in capsys.readouterr().err
    assert len(images(root)) == 9


def test_existing_files_are_kept(root, capsys):
    assert run_main(tool.main, root, root / "val") == 1
    assert "val already exists: remove it" in capsys.readouterr().err
    assert len(images(root)) == 9


def test_no_archive(tmp_path, capsys):
    assert run_main(tool.main, tmp_path) == 1
    assert "wnids.txt: cannot be read" in capsys.readouterr().err
