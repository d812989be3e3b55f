import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import torch
from filelock import FileLock
from mmengine.config import Config
from mmengine.fileio import LmdbBackend
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from config_helpers import CONFIGS
from smallvit.datasets import lmdb_writer
from smallvit.datasets.io import images
from smallvit.datasets.io.parallel import read_all
from smallvit.engine.random_states import seed_all
from tool_helpers import load_tool, run_main, write_pictures

tool = load_tool("dataset_converters/folder2lmdb.py")
_context = multiprocessing.get_context("fork")


@pytest.fixture
def folder(tmp_path):
    """Two classes with eight images each."""
    write_pictures(tmp_path)
    return tmp_path / "train"


def convert(folder, store, *options):
    return run_main(tool.main, folder, store, "--workers", 0, *options)


def content(store):
    with lmdb.open(str(store), readonly=True, lock=False) as handle, handle.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def files(folder):
    return {
        str(path.relative_to(folder)).encode(): path.read_bytes() for path in folder.rglob("*.png")
    }


def in_a_child(function):
    """Run a function in a child process; return its exit status and output."""
    read, write = os.pipe()

    def run():
        os.dup2(write, 1)
        os.dup2(write, 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False)
        os._exit(function())

    child = _context.Process(target=run)
    child.start()
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    child.join(60)
    return child.exitcode, text


PIPELINE = [
    dict(type="RandomResizedCrop", scale=12, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]


def dataset(backend_args=None, **settings):
    loading = dict(type="LoadImageFromFile", backend_args=backend_args)
    return DATASETS.build(dict(type="CustomDataset", pipeline=[loading, *PIPELINE], **settings))


def seed_worker(_):
    np.random.seed(0)


def samples_of(data, workers):
    np.random.seed(0)
    loader = DataLoader(
        data, batch_size=4, num_workers=workers, collate_fn=list, worker_init_fn=seed_worker
    )
    return [sample for batch in loader for sample in batch]


@pytest.mark.parametrize("workers", [0, 2])
def test_store_and_folder_give_the_same_samples(folder, tmp_path, workers):
    store = tmp_path / "train.lmdb"
    # Sorts before its neighbor as a file path, but after it as a folder.
    shutil.copytree(folder / "dark", folder / "dark-er")
    (folder / "dark" / "Straße 1.png").write_bytes((folder / "bright" / "0.png").read_bytes())
    assert run_main(tool.main, folder, store, "--workers", 2) == 0
    init_default_scope("mmpretrain")
    images.install("mmpretrain")
    arguments = dict(backend="lmdb", db_path=str(store))
    plain = dataset(data_root=str(folder))
    packed = dataset(arguments, ann_file=str(store / "annotations.txt"))
    names = (store / "classes.txt").read_text().splitlines()
    assert tuple(names) == plain.CLASSES == ("bright", "dark", "dark-er")
    packed[0]  # the parent process of the workers has already read from the store
    ours, theirs = samples_of(packed, workers), samples_of(plain, workers)
    assert len(ours) == len(theirs) == 25
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one["inputs"], other["inputs"])
        assert torch.equal(one["data_samples"].gt_label, other["data_samples"].gt_label)
        assert other["data_samples"].img_path == str(folder / one["data_samples"].img_path)
    assert len({sample["inputs"].numpy().tobytes() for sample in ours}) == 25


def test_holds_bytes_and_text_alone(folder, tmp_path):
    store = tmp_path / "train.lmdb"
    assert convert(folder, store) == 0
    found = content(store)
    meta = json.loads(found.pop(lmdb_writer.META))
    assert meta["images"] == 16
    assert meta["classes"] == ["bright", "dark"]
    annotations = found.pop(lmdb_writer.ANNOTATIONS).decode()
    assert annotations == (store / "annotations.txt").read_text()
    assert annotations.splitlines()[7:9] == ["bright/7.png 0", "dark/0.png 1"]
    assert found == files(folder)
    assert sorted(os.listdir(store)) == ["annotations.txt", "classes.txt", "data.mdb"]
    assert str(tmp_path) not in json.dumps(meta)


def test_the_stock_backend_reads_it(folder, tmp_path):
    store = tmp_path / "train.lmdb"
    assert convert(folder, store) == 0
    backend = LmdbBackend(store)
    assert backend.get("dark/3.png") == (folder / "dark/3.png").read_bytes()


@pytest.mark.parametrize("commits", [1, 2, 9])
def test_killed_and_continued(folder, tmp_path, monkeypatch, capsys, commits):
    store, partial = tmp_path / "train.lmdb", tmp_path / "train.lmdb.partial"
    monkeypatch.setattr(lmdb_writer, "TRANSACTION", 1)
    flush, done = lmdb_writer.LMDBWriter.flush, iter(range(1, 100))

    def flush_or_die(self):
        flush(self)
        if next(done) == commits:
            os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(lmdb_writer.LMDBWriter, "flush", flush_or_die)
        status, _ = in_a_child(lambda: convert(folder, store))
    assert status == -signal.SIGKILL
    assert not store.exists()
    assert len(content(partial)) == commits + 1  # including its metadata
    capsys.readouterr()
    assert convert(folder, store) == 0
    assert f"resuming: {commits} of 16 images are stored" in capsys.readouterr().out
    assert not partial.exists()
    assert convert(folder, tmp_path / "whole.lmdb") == 0
    assert content(store) == content(tmp_path / "whole.lmdb")


def test_two_writers_at_once(folder, tmp_path, capsys):
    owner = tmp_path / ".train.lmdb.writing.json"
    owner.write_text('{"host": "elsewhere", "process": 7, "began": "2026"}')
    with FileLock(tmp_path / ".train.lmdb.writing.lock"):
        assert convert(folder, tmp_path / "train.lmdb") == 1
    said = capsys.readouterr().err
    assert "another writer is running in" in said
    assert "train.lmdb.partial (process 7 on host elsewhere, started 2026)" in said
    assert convert(folder, tmp_path / "train.lmdb") == 0
    assert not owner.exists()


def test_continues_with_files_that_changed(folder, tmp_path):
    store = tmp_path / "train.lmdb"
    (folder / "dark/0.png").write_bytes(b"")
    assert convert(folder, store) == 1
    shutil.copy(folder / "dark/1.png", folder / "dark/0.png")
    (folder / "dark/2.png").unlink()
    os.truncate(folder / "dark/3.png", 40)
    assert convert(folder, store) == 1
    (folder / "dark/3.png").unlink()
    assert convert(folder, store) == 0
    found = content(store)
    assert {key: value for key, value in found.items() if b"__" not in key} == files(folder)
    assert json.loads(found[lmdb_writer.META])["images"] == 14


def test_bad_images_are_listed(folder, tmp_path, capsys):
    store = tmp_path / "train.lmdb"
    os.truncate(folder / "dark/0.png", 300)
    (folder / "dark/1.png").write_text("no image")
    assert convert(folder, store) == 1
    captured = capsys.readouterr()
    assert f"invalid: {folder}/dark/0.png: truncated PNG (300 bytes, no end chunk)" in captured.out
    assert f"invalid: {folder}/dark/1.png: not an image that cv2 reads" in captured.out
    assert "2 of 16 images are invalid" in captured.err
    assert "--skip-bad" in captured.err
    assert not store.exists()

    assert convert(folder, store, "--skip-bad") == 0
    assert "14 images, 2 skipped" in capsys.readouterr().out
    assert "dark/0.png" not in (store / "annotations.txt").read_text()
    skipped = (store / "skipped.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in skipped] == ["dark/0.png", "dark/1.png"]
    assert not {b"dark/0.png", b"dark/1.png"} & content(store).keys()


def test_by_annotation_file(folder, tmp_path, capsys):
    store, lists, names = tmp_path / "some.lmdb", tmp_path / "some.txt", tmp_path / "names.txt"
    lists.write_text("dark/3.png 2\nbright/0.png 0\n")
    names.write_text("bright\nmiddle\ndark\n")
    assert convert(folder, store, "--ann-file", lists, "--classes", names) == 0
    assert (store / "annotations.txt").read_text() == lists.read_text()
    assert json.loads(content(store)[lmdb_writer.META])["classes"] == ["bright", "middle", "dark"]
    lists.write_text("dark/3.png 2\ndark/33.png 0\n")
    assert convert(folder, tmp_path / "other.lmdb", "--ann-file", lists) == 1
    assert f"invalid: {folder}/dark/33.png: No such file or directory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "dark/3.png",
            "some.txt, line 2: expected 'path label' with a label from 0, got 'dark/3.png'",
        ),
        ("dark/3.png -1", "got 'dark/3.png -1'"),
        ("dark/3.png 2", "line 2: label 2, but"),
        ("dark/1.png 1", "line 2: 'dark/1.png' is a duplicate of line 1"),
    ],
)
def test_mistakes_in_lists(folder, tmp_path, capsys, line, message):
    lists, names = tmp_path / "some.txt", tmp_path / "names.txt"
    lists.write_text(f"dark/1.png 1\n{line}\n")
    names.write_text("bright\ndark\n")
    options = ("--ann-file", lists, "--classes", names)
    assert convert(folder, tmp_path / "some.lmdb", *options) == 1
    assert message in capsys.readouterr().err


def test_ambiguous_class_folders_are_rejected(folder, tmp_path, capsys):
    store = tmp_path / "train.lmdb"
    (folder / "empty").mkdir()
    shutil.copytree(folder / "dark", folder / "Dark")
    assert convert(folder, store) == 1
    message = capsys.readouterr().err
    assert "class folders 'Dark' and 'dark' differ only in case" in message
    assert "class folder 'empty' contains no image" in message
    assert not list(tmp_path.glob("train.lmdb*"))
    assert convert(folder / "dark", store) == 1
    assert "there is no class folder" in capsys.readouterr().err
    assert convert(tmp_path / "nowhere", store) == 1
    assert "no such folder" in capsys.readouterr().err
    assert convert(folder, folder / "train.lmdb") == 1
    assert "would be a class folder" in capsys.readouterr().err


def test_names_that_cannot_be_keys(folder, tmp_path, capsys):
    deep = folder / "dark" / ("x" * 250) / ("y" * 250)
    deep.mkdir(parents=True)
    shutil.copy(folder / "dark/0.png", deep / "0123456789.png")
    shutil.copy(folder / "dark/0.png", folder / "dark/1\n2.png")
    assert convert(folder, tmp_path / "train.lmdb") == 1
    message = capsys.readouterr().err
    assert "above the key limit of 511" in message
    assert "cannot be stored in an annotation file" in message


def test_existing_files_are_kept(folder, tmp_path, capsys):
    store = tmp_path / "train.lmdb"
    assert convert(folder, store) == 0
    before = content(store)
    assert convert(folder, store) == 0
    assert f"{store} is complete: 16 images, 0 skipped" in capsys.readouterr().out
    assert convert(tmp_path / "test", store) == 1
    assert "contains other images" in capsys.readouterr().err
    assert content(store) == before
    assert convert(folder, tmp_path / "test") == 1
    assert "is not a store of this tool" in capsys.readouterr().err
    (folder / "dark/0.png").write_bytes(b"")
    assert convert(folder, tmp_path / "next.lmdb") == 1
    capsys.readouterr()
    assert convert(tmp_path / "test", tmp_path / "next.lmdb") == 1
    assert f"was started from {folder}" in capsys.readouterr().err


def test_the_map_size_grows(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_writer, "FIRST_MAP", 1 << 15)
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = rng.integers(0, 256, (150, 150, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"dark/big{number}.png"), noise)
    store = tmp_path / "train.lmdb"
    assert convert(folder, store) == 0
    assert content(store)[b"dark/big3.png"] == (folder / "dark/big3.png").read_bytes()


def test_a_full_disk(folder, tmp_path, monkeypatch):
    store = tmp_path / "train.lmdb"
    monkeypatch.setattr(lmdb_writer, "TRANSACTION", 1)

    def convert_with_little_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30000, resource.RLIM_INFINITY))
        return convert(folder, store)

    status, text = in_a_child(convert_with_little_space)
    assert status == 1
    assert f"cannot write {store}.partial" in text
    assert "Is the disk full?" in text
    assert "run the same command again" in text
    assert "Traceback" not in text
    assert convert(folder, store) == 0
    assert {key for key in content(store) if b"__" not in key} == set(files(folder))


def test_the_imagenet_config_reads_it(folder, tmp_path, monkeypatch):
    """The same inputs as with the config of image folders, without changes to the paths."""
    monkeypatch.chdir(tmp_path)
    data = Path("data/imagenet")
    (data / "meta").mkdir(parents=True)
    for split in ("train", "val"):
        shutil.copytree(folder, data / split)
        lines = [f"{path.decode()} {99 + number}\n" for number, path in enumerate(files(folder))]
        lists = data / "meta" / f"{split}.txt"
        lists.write_text("".join(lines))
        assert convert(data / split, data / f"{split}.lmdb", "--ann-file", lists) == 0
    init_default_scope("mmpretrain")
    images.install("mmpretrain")
    base = CONFIGS / "_base_/datasets"
    packed = Config.fromfile(base / "imagenet-lmdb_bs64_swin_224.py")
    plain = Config.fromfile(_plain(tmp_path))
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        ours, theirs = (DATASETS.build(cfg[loader].dataset) for cfg in (packed, plain))
        assert len(ours) == len(theirs) == 16
        assert ours.CLASSES == theirs.CLASSES
        for index in (0, 15):
            samples = []
            for data in (ours, theirs):
                seed_all((index,))
                samples.append(data[index])
            assert torch.equal(samples[0]["inputs"], samples[1]["inputs"])
            assert samples[0]["data_samples"].gt_label == samples[1]["data_samples"].gt_label


def _plain(folder):
    path = folder / "plain.py"
    path.write_text('_base_ = "smallvit::_base_/datasets/imagenet_swin_224.py"\n')
    return path


def test_usage(capsys):
    assert run_main(tool.main, "a", "b", "--classes", "c") == 2
    assert "--classes requires --ann-file" in capsys.readouterr().err
    assert run_main(tool.main, "a", "b", "--workers", "-1") == 2
    assert "-1 is not a non-negative integer" in capsys.readouterr().err


class Chunks:
    """Items that fill the pipe of a worker, with the process id of the worker."""

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return os.getpid(), b"x" * (1 << 18)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_process(tmp_path):
    written = tmp_path / "pids"

    def read_and_die():
        pids = set()
        for items in read_all(Chunks(), workers=2):
            pids.update(pid for pid, _ in items)
            if len(pids) == 2:
                written.write_text(" ".join(map(str, pids)))
                os.kill(os.getpid(), signal.SIGKILL)

    child = _context.Process(target=read_and_die)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    pids = written.read_text().split()
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # empty for zombies
    except OSError:
        return False
