"""Cached file listing of folders, with the same names as MMEngine."""

import os

import pytest
from mmengine.fileio import list_dir_or_file

from smallvit.datasets import ClassFolders
from smallvit.datasets.io import file_names
from smallvit.datasets.io.file_names import list_files

NAMES = ("b.jpg", "a.jpg", "B.txt", ".hidden", "in/c.jpg", "in/.d.jpg", ".x/e.jpg", "in/on/f.jpg")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "g.jpg").touch()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "h.jpg").symlink_to(tmp_path / "elsewhere" / "g.jpg")
    (tmp_path / "data" / "broken.jpg").symlink_to(tmp_path / "nowhere")
    return tmp_path / "data"


def settle(folder, reads):
    """Set the modification times of the folders far in the past."""
    for path, *_ in os.walk(folder, followlinks=True):
        os.utime(path, ns=(0, 10**9))
    del reads[:]


@pytest.fixture
def reads(monkeypatch):
    """Count the folders that are read."""
    found = []
    original = os.scandir
    monkeypatch.setattr(
        file_names.os, "scandir", lambda path: found.append(str(path)) or original(path)
    )
    return found


def test_the_names_are_those_of_mmengine(folder):
    expected = sorted(
        name
        for name in list_dir_or_file(str(folder), list_dir=False, recursive=True)
        if not any(part.startswith(".") for part in name.split("/"))
    )
    assert list_files(str(folder)) == expected
    assert expected == ["B.txt", "a.jpg", "b.jpg", "h.jpg", "in/c.jpg", "in/on/f.jpg", "link/g.jpg"]


def test_other_file_systems_are_listed_by_their_backend(folder, monkeypatch):
    expected = list_files(str(folder))
    monkeypatch.setattr(file_names, "get_file_backend", lambda *args, **kwargs: object())
    assert list_files(str(folder)) == expected


def test_unchanged_folders_are_read_once(folder, reads):
    settle(folder, reads)
    first = list_files(str(folder))
    assert len(reads) == 4  # itself, in, in/on and link
    first.clear()
    assert len(list_files(str(folder))) == 7
    assert len(reads) == 4


@pytest.mark.parametrize("where", [".", "in/on"])
def test_changed_folders_are_read_again(folder, where, reads):
    settle(folder, reads)
    list_files(str(folder))
    (folder / where / "new.jpg").touch()
    assert any(name.endswith("new.jpg") for name in list_files(str(folder)))
    # File systems have coarse timestamps: a further change may get the same time.
    count = len(reads)
    list_files(str(folder))
    assert len(reads) == count + 4


def test_deleted_folders_are_not_cached(folder, reads):
    settle(folder, reads)
    list_files(str(folder))
    (folder / "in" / "on" / "f.jpg").unlink()
    (folder / "in" / "on").rmdir()
    settle(folder, reads)
    assert "in/on/f.jpg" not in list_files(str(folder))


def test_training_and_validation_list_once(tmp_path, reads):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.jpg").touch()
    settle(tmp_path, reads)
    parts = [ClassFolders(str(tmp_path), split) for split in ("train", "val")]
    assert [len(part) for part in parts] == [6, 2]
    in_classes = [path for path in reads if path.endswith(("cat", "dog"))]
    assert len(in_classes) == len(set(in_classes)) == 2
