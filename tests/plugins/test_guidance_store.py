"""Stores of teacher features: content, resuming and error handling."""

import errno
import json
import math
import multiprocessing
import os
import pickle
import resource
import shutil
import socket
import time
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.fingerprint import (
    dataset_fingerprint,
    file_sha256,
    sample_key,
)
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.plugins.locality_guidance.store_header import StoreHeader
from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter
from smallvit.plugins.locality_guidance.windows import StoredSample, Window, cut_out, stack_maps

SHAPES = [[2, 4, 4], [3, 2, 2]]
KEYS = np.arange(10, 17, dtype=np.uint64) << np.uint64(60)  # exceeds int64


def header(**changes):
    return StoreHeader(
        data_set={"type": "Digits", "length": len(KEYS), "fingerprint": "f"},
        teacher={"sha256": "0" * 64},
        shapes=SHAPES,
        **changes,
    )


def rows(start, end, scale=1.0):
    """Feature maps whose values identify sample, stage and position."""
    return [
        scale
        * (np.arange(start, end)[:, None] * 100 + np.arange(np.prod(shape)) + 1000 * stage)
        .reshape(-1, *shape)
        .astype(np.float32)
        for stage, shape in enumerate(SHAPES)
    ]


def write(path, step=2, chunk=3, start=0, stop=8, **changes):
    """Write the maps of the samples, followed by those of the black image."""
    writer = FeatureStoreWriter(path, header(**changes), KEYS, chunk=chunk)
    assert writer.finished == start
    for first in range(start, stop, step):
        writer.append(rows(first, min(first + step, stop)))
    return writer


@pytest.fixture
def store(tmp_path):
    write(tmp_path / "store").close()
    return FeatureStore(tmp_path / "store")


def content(folder: Path):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_reads_what_was_written(store):
    assert len(store) == 7
    assert store.channels == (2, 3)
    assert store.shapes == ((2, 4, 4), (3, 2, 2))
    assert store.teacher_sha256 == "0" * 64
    for index in range(7):
        found = store.read(index, int(KEYS[index]))
        for stage, array in enumerate(found):
            assert array.dtype == np.float16
            assert np.array_equal(array, rows(index, index + 1)[stage][0])
            array[:] = -1  # a copy, so the store does not change
    assert store.read(0, int(KEYS[0]))[0][0, 0, 1] == 1


def test_keeps_single_precision(tmp_path):
    write(tmp_path / "store", dtype="float32").close()
    found = FeatureStore(tmp_path / "store").read(3, int(KEYS[3]))
    assert found[1].dtype == np.float32


class Rows(Dataset):
    def __init__(self, store):
        self.store = store

    def __len__(self):
        return len(self.store)

    def __getitem__(self, index):
        return self.store.read(index, int(KEYS[index]))[0]


def test_worker_processes_read(store):
    (batch,) = DataLoader(Rows(store), 7, num_workers=1)
    assert np.array_equal(batch.numpy(), rows(0, 7)[0].astype(np.float16))


def test_a_pickled_store_holds_no_data(store):
    store.read(0, int(KEYS[0]))
    text = pickle.dumps(store)
    assert len(text) < 2000
    assert pickle.loads(text).read(6, int(KEYS[6]))[1][0, 0, 0] == 1600


def test_refuses_another_data_set(store):
    with pytest.raises(FeatureStoreError, match=r"sample 2 .* differs .*precompute again"):
        store.read(2, int(KEYS[3]))
    with pytest.raises(FeatureStoreError, match=r"features of 7 samples, got sample 7"):
        store.read(7, 0)
    with pytest.raises(FeatureStoreError, match="sample -1"):
        store.read(-1, int(KEYS[-1]))


def test_refuses_another_teacher(tmp_path):
    checkpoint, other = tmp_path / "teacher.pth", tmp_path / "other.pth"
    checkpoint.write_bytes(b"weights")
    other.write_bytes(b"weight")
    own = header()
    own.teacher["sha256"] = file_sha256(checkpoint)
    writer = FeatureStoreWriter(tmp_path / "store", own, KEYS)
    writer.append(rows(0, 8))
    writer.close()
    store = FeatureStore(tmp_path / "store")
    store.require_teacher(checkpoint)
    with pytest.raises(FeatureStoreError, match="another teacher"):
        store.require_teacher(other)


def cut(path, count=1):
    path.write_bytes(path.read_bytes()[:-count])


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_by_pickle(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: cut(folder / "stage_1.npy"), "stage_1.npy is missing or truncated"),
        (lambda folder: cut(folder / "stage_0.npy", 400), "stage_0.npy is missing or truncated"),
        (lambda folder: cut(folder / "keys.npy"), "keys.npy is missing or truncated"),
        (lambda folder: (folder / "keys.npy").unlink(), "keys.npy is missing"),
        (lambda folder: replace_by_pickle(folder / "keys.npy"), "pickle|Python objects"),
        (
            lambda folder: edit(folder / "header.json", version=4),
            "version 1 to 3, got 4",
        ),
        (lambda folder: (folder / "checksums.npy").unlink(), "checksums.npy is missing"),
        (
            lambda folder: edit(folder / "header.json", dtype="float32"),
            "expected float32 .* as in the header",
        ),
        (lambda folder: edit(folder / "header.json", dtype="object"), "header.json is damaged"),
        (lambda folder: edit(folder / "header.json", teacher={}), "header.json is damaged"),
        (lambda folder: edit(folder / "header.json", more=1), "header.json is damaged"),
        (lambda folder: cut(folder / "header.json"), "not a store of teacher features"),
        (lambda folder: (folder / "header.json").unlink(), "not a store of teacher features"),
        (lambda folder: edit(folder / "progress.json", finished=6), "is incomplete"),
        (shutil.rmtree, "no such store .*precompute.py"),
    ],
)
def test_rejects_damaged_files(store, damage, message):
    damage(Path(store.path))
    with pytest.raises(FeatureStoreError, match=message):
        FeatureStore(store.path)


def test_an_unfinished_store_says_how_to_resume(tmp_path):
    write(tmp_path / "store", stop=4)
    with pytest.raises(FeatureStoreError, match=r"not finished \(4 images so far.*to resume"):
        FeatureStore(tmp_path / "store")


@settings(max_examples=20)
@given(stop=st.integers(0, 8), step=st.integers(1, 7), chunk=st.integers(1, 8))
def test_resumed_stores_are_byte_identical(tmp_path_factory, stop, step, chunk):
    folder = tmp_path_factory.mktemp("stores")
    write(folder / "whole").close()
    abandoned = write(folder / "parts", step=step, chunk=chunk, stop=stop)
    # Data after the last flush may or may not have been written; here it was, with wrong values.
    flushed = FeatureStoreWriter(folder / "parts", header(), KEYS).finished
    assert flushed >= stop - max(chunk, step)
    for stage in range(len(abandoned._stages)):
        array = np.load(folder / f"parts.partial/stage_{stage}.npy", mmap_mode="r+")
        array[flushed:] = 7
        array.flush()
    write(folder / "parts", start=flushed, step=1).close()
    assert content(folder / "parts") == content(folder / "whole")
    assert not (folder / "parts.partial").exists()


def test_does_not_resume_a_different_store(tmp_path):
    write(tmp_path / "store", stop=4)
    message = r"other settings:\n  dtype: expected float32, got float16 in the store\n"
    with pytest.raises(FeatureStoreError, match=message):
        FeatureStoreWriter(tmp_path / "store", header(dtype="float32"), KEYS)
    # The name of the config is only informative.
    assert FeatureStoreWriter(tmp_path / "store", header(config="renamed.py"), KEYS).finished == 4


def test_fresh_replaces_a_store_when_the_new_one_is_whole(store, tmp_path):
    writer = FeatureStoreWriter(store.path, header(), KEYS, fresh=True)
    writer.append(rows(0, 8, scale=2.0))
    assert FeatureStore(store.path).read(1, int(KEYS[1]))[0][0, 0, 0] == 100
    writer.close()
    assert FeatureStore(store.path).read(1, int(KEYS[1]))[0][0, 0, 0] == 200


@pytest.mark.parametrize("name", ["store", "store.partial"])
def test_fresh_removes_stores_only(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("years of work")
    with pytest.raises(
        FeatureStoreError, match=r"more than a store of teacher features .*thesis\.tex"
    ):
        FeatureStoreWriter(tmp_path / "store", header(), KEYS, fresh=True)
    assert (tmp_path / name / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["store", "store.partial"])
@pytest.mark.parametrize("with_header", [False, True])
def test_fresh_only_removes_arrays_of_the_store(tmp_path, name, with_header):
    """A folder of arrays is not a store, and a store may contain arrays of others."""
    if with_header:
        write(tmp_path / "store", stop=4 if name.endswith("partial") else 7)
    (tmp_path / name).mkdir(exist_ok=True)
    for mine in ("embeddings.npy", "stage_2.npy"):
        np.save(tmp_path / name / mine, np.arange(3))
    before = content(tmp_path / name)
    with pytest.raises(FeatureStoreError, match=r"embeddings\.npy\) and was not removed"):
        FeatureStoreWriter(tmp_path / "store", header(), KEYS, fresh=True)
    assert content(tmp_path / name) == before


def test_files_added_to_the_old_store_are_kept(store, tmp_path, capsys):
    writer = FeatureStoreWriter(store.path, header(), KEYS, fresh=True)
    writer.append(rows(0, 8, scale=2.0))
    (tmp_path / "store" / "notes.npy").write_text("mine")
    writer.close()
    assert FeatureStore(store.path).read(1, int(KEYS[1]))[0][0, 0, 0] == 200
    assert content(tmp_path / "store.replaced") == {"notes.npy": b"mine"}
    assert "store.replaced is kept" in capsys.readouterr().out


def test_the_old_store_is_there_until_the_new_one_is_whole(store, monkeypatch):
    writer = FeatureStoreWriter(store.path, header(), KEYS, fresh=True)
    writer.append(rows(0, 7, scale=2.0))
    with pytest.raises(FeatureStoreError, match="7 rows of 8"):
        writer.close()
    assert FeatureStore(store.path).read(1, int(KEYS[1]))[0][0, 0, 0] == 100
    writer.append(rows(7, 8, scale=2.0))
    rename = os.rename

    def fail(source, target):
        if str(source).endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        writer.close()
    assert FeatureStore(store.path).read(1, int(KEYS[1]))[0][0, 0, 0] == 100


def test_two_writers_at_once(tmp_path):
    fork = multiprocessing.get_context("fork")
    begun = fork.Event()

    def other():
        writer = write(tmp_path / "store", stop=4)
        begun.set()
        time.sleep(120)
        writer.close()

    process = fork.Process(target=other)
    process.start()
    assert begun.wait(30)
    for fresh in (False, True):
        whose = rf"store\.partial \(process {process.pid} on host {socket.gethostname()}, started 2"
        with pytest.raises(
            FeatureStoreError, match=rf"another writer is running in .*{whose}.*--out"
        ):
            FeatureStoreWriter(tmp_path / "store", header(), KEYS, fresh=fresh)
    process.kill()
    process.join()
    with write(tmp_path / "store", start=4) as writer:  # takes over the remaining files
        writer.close()


def test_a_linked_folder_is_not_removed(store, tmp_path):
    (tmp_path / "link").symlink_to(store.path)
    with pytest.raises(
        FeatureStoreError, match=r"is a symbolic link to .*store and was not removed"
    ):
        FeatureStoreWriter(tmp_path / "link", header(), KEYS, fresh=True)


def test_an_interrupted_start_is_repeated(tmp_path, monkeypatch):
    from smallvit.plugins.locality_guidance import store_writer

    def kill(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_writer, "create_array", kill)
        with pytest.raises(KeyboardInterrupt):
            FeatureStoreWriter(tmp_path / "store", header(), KEYS)
    (tmp_path / "store.partial" / ".progress.0a1b2c3d.incomplete.json").touch()
    write(tmp_path / "store").close()
    assert {path.name for path in (tmp_path / "store").iterdir()} == {
        *("header.json", "keys.npy", "checksums.npy", "progress.json"),
        *("stage_0.npy", "stage_1.npy"),
    }


class FullDisk:
    """A file on a disk with limited space, which first writes a part of the data."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_is_reported_and_can_be_resumed(tmp_path):
    writer = write(tmp_path / "store", stop=4, chunk=1)
    writer._stages[1]._file = FullDisk(writer._stages[1]._file, room=30)
    message = r"store\.partial: No space left on device\. .* resume after 4 images"
    with pytest.raises(FeatureStoreError, match=message):
        writer.append(rows(4, 7))
    write(tmp_path / "store", start=4).close()
    write(tmp_path / "whole").close()
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_insufficient_disk_space_is_reported_immediately(tmp_path, monkeypatch):
    """A limit on file sizes emulates a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
    try:
        with pytest.raises(
            FeatureStoreError, match=r"cannot write .*store\.partial: File too large"
        ):
            FeatureStoreWriter(tmp_path / "store", header(), KEYS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_file_systems_without_preallocation_are_supported(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    write(tmp_path / "one").close()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    write(tmp_path / "two").close()
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("name", ["stage_0.npy", "stage_1.npy", "checksums.npy"])
def test_a_flipped_bit_is_found(store, name):
    path = Path(store.path) / name
    data = bytearray(path.read_bytes())
    # In the last sample before the black image, whose last stage has a checksum as well.
    row = 4 * len(SHAPES) if name == "checksums.npy" else 2 * math.prod(SHAPES[int(name[6])])
    data[-1 - row] ^= 1
    path.write_bytes(data)
    found = FeatureStore(store.path)
    found.read(5, int(KEYS[5]))
    with pytest.raises(FeatureStoreError, match="features of sample 6 are damaged"):
        found.read(6, int(KEYS[6]))


def test_a_store_without_checksums_gives_a_warning(store, tmp_path, monkeypatch):
    from smallvit.plugins.locality_guidance import store as module

    said = []
    monkeypatch.setattr(module, "print_log", lambda text, **_: said.append(text))
    assert FeatureStore(store.path).checked
    assert not said
    Path(store.path).rename(tmp_path / "new")
    write(store.path, stop=7, version=1).close()
    (Path(store.path) / "checksums.npy").unlink()
    old = FeatureStore(store.path)
    assert np.array_equal(old.read(3, int(KEYS[3]))[1], rows(3, 4)[1][0])
    assert "no checksums, so its features are not verified; it has no maps of a black" in said[0]
    assert old.black is None
    assert not header().differences(old.header)
    Path(store.path).rename(store.path + ".partial")
    with pytest.raises(
        FeatureStoreError, match=r"by an earlier version of smallvit \(store version 1"
    ):
        FeatureStoreWriter(store.path, header(), KEYS)


def test_a_store_without_a_black_image_gives_a_warning(tmp_path, monkeypatch):
    from smallvit.plugins.locality_guidance import store as module

    said = []
    monkeypatch.setattr(module, "print_log", lambda text, **_: said.append(text))
    write(tmp_path / "store", stop=7, version=2).close()
    old = FeatureStore(tmp_path / "store")
    assert old.checked
    assert said[0].count("no maps of a black image, so the target of padding is zero") == 1
    shifted = StoredSample(3, int(KEYS[3]), Window(top=-1.0, bottom=0.0, blank=True))
    assert not old.maps(shifted)[0].any()
    assert not header().differences(old.header)


def test_padding_uses_the_features_of_a_black_image(store):
    black = StoredSample(3, int(KEYS[3]), Window(top=-1.0, bottom=0.0, blank=True))
    half = replace(black, window=Window(left=-0.5, right=0.5, blank=True))
    border = replace(half, window=replace(half.window, blank=False))
    for stage, expected in enumerate(rows(7, 8)):
        expected = torch.from_numpy(expected[0]).half()
        assert torch.equal(store.black[stage], expected)
        assert torch.equal(store.maps(black)[stage], expected)
        width = expected.shape[-1] // 2
        left, right = store.maps(half)[stage].split(width, -1)
        assert torch.equal(left, expected[..., :width])
        assert torch.equal(right, store.maps(border)[stage][..., width:])


def mirrored_store(path):
    """A store in which the maps of a mirrored sample are those of the sample plus 0.5."""
    writer = FeatureStoreWriter(path, header(mirrored=True, dtype="float32"), KEYS)
    assert writer.header.rows == 15
    writer.append(rows(0, 7))
    writer.append([each + 0.5 for each in rows(0, 7)])
    writer.append(rows(7, 8))
    writer.close()
    return FeatureStore(path)


def test_mirrored_images_have_their_own_maps(tmp_path):
    store = mirrored_store(tmp_path / "store")
    sample = StoredSample(4, int(KEYS[4]), Window(0.25, 0.75, 0.5, 1.0))
    flips = {name: sample.window.flip(name) for name in ("horizontal", "vertical", "diagonal")}
    read = store.maps(sample, either=True)
    for name, window in flips.items():
        noted = sample.showing(window)
        plain = replace(noted, window=window.of_mirror if window.is_mirrored else window)
        for stage, expected in enumerate(rows(4, 5)):
            whole = torch.from_numpy(expected) + (0.5 if name != "vertical" else 0.0)
            expected = cut_out(whole, [plain.window])[0]
            for found in (store.maps(noted), read.showing(window)):
                torch.testing.assert_close(found[stage], expected)
    assert torch.equal(read.showing(sample.window)[1], store.maps(sample)[1])
    assert torch.equal(store.black[1], torch.from_numpy(rows(7, 8)[1][0]))


def test_workers_only_send_the_maps_that_are_used(tmp_path):
    store = mirrored_store(tmp_path / "store")
    read = store.maps(StoredSample(4, int(KEYS[4])), either=True)
    sizes = []
    for window in (Window(), Window().flip("horizontal"), Window(left=-0.5, right=0.5, blank=True)):
        sent = bytes(ForkingPickler.dumps(read.showing(window)))
        sizes.append(len(sent))
        found = pickle.loads(sent)
        assert found.window == window
        for stage in range(2):
            assert torch.equal(found[stage], read.showing(window)[stage])
            assert torch.equal(stack_maps([found])[stage][0], found[stage])
    values = 4 * sum(math.prod(shape) for shape in SHAPES)
    assert abs(sizes[1] - sizes[0]) < values < sizes[2] - sizes[0]


#: Malformed JSON files.
MALFORMED = {
    "empty": b"",
    "cut": b'{"version": 2, "data_set": {"len',
    "list": b"[1, 2]",
    "null": b"null",
    "not UTF-8": b'{"version": "\xff\xfe"}',
    "deep": b"[" * 100_000,
    "other keys": b'{"a": 1}',
}
CHANGES = {
    "text": dict(data_set={"length": "7"}),
    "negative": dict(data_set={"length": -7}),
    "huge": dict(data_set={"length": 1 << 62}),
    "NaN": dict(data_set={"length": float("nan")}),
    "list for dict": dict(data_set=[7]),
    "negative side": dict(shapes=[[2, -4, 4], [3, 2, 2]]),
    "text side": dict(shapes=[["2", 4, 4], [3, 2, 2]]),
    "no lists": dict(shapes=7),
    "NaN version": dict(version=float("nan")),
    "true version": dict(version=True),
    "teacher": dict(teacher=None),
    "dtype": dict(dtype=[1]),
}


@pytest.mark.parametrize("kind", [*MALFORMED, *CHANGES, "folder"])
def test_malformed_headers_are_rejected_in_a_sentence(store, kind):
    path = Path(store.path) / "header.json"
    if kind in CHANGES:
        edit(path, **CHANGES[kind])
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(MALFORMED[kind])
    with pytest.raises(FeatureStoreError, match=r"precompute\.py"):
        FeatureStore(store.path)
    Path(store.path).rename(store.path + ".partial")
    with pytest.raises(FeatureStoreError):
        FeatureStoreWriter(store.path, header(), KEYS)


@pytest.mark.parametrize("text", [*MALFORMED.values(), b'{"finished": -1}', b'{"finished": "7"}'])
def test_malformed_progress_is_ignored(store, text):
    (Path(store.path) / "progress.json").write_bytes(text)
    with pytest.raises(FeatureStoreError, match="is incomplete"):
        FeatureStore(store.path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 70000.0])
def test_rejects_values_out_of_range_for_half_precision(tmp_path, value):
    writer = FeatureStoreWriter(tmp_path / "store", header(), KEYS)
    bad = rows(0, 2)
    bad[1][1, 2, 0, 1] = value
    with pytest.raises(FeatureStoreError, match=r"images 0 to 1, stage 1: .*--dtype float32"):
        writer.append(bad)


def test_refuses_to_finish_early_and_to_replace(tmp_path):
    with pytest.raises(FeatureStoreError, match="4 rows of 8"):
        write(tmp_path / "store", stop=4).close()
    writer = write(tmp_path / "store", start=4)
    (tmp_path / "store").mkdir()
    with pytest.raises(FeatureStoreError, match=r"exists\. Replace it with --fresh"):
        writer.close()


def test_too_small_disks_are_reported(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(FeatureStoreError, match=r"the disk has only 0\.0 GiB left"):
        FeatureStoreWriter(tmp_path / "store", header(), KEYS)
    assert not (tmp_path / "store.partial").exists()


IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def test_keys_are_reproducible():
    # The value itself is fixed, because stores are shared across sessions, versions and machines.
    assert sample_key({"gt_label": 3, "img_path": "/data/train/cat/7.png"}) == 787346977704983806
    assert sample_key({"gt_label": 3, "img": IMAGE}) == 17378225588470933265
    moved = {"gt_label": np.int64(3), "img_path": "C:\\elsewhere\\cat\\7.png", "img": IMAGE}
    assert sample_key(moved) == sample_key({"gt_label": 3, "img_path": "/data/train/cat/7.png"})


@given(label=st.integers(0, 9), pixel=st.integers(0, 47), change=st.integers(1, 255))
def test_keys_are_unique(label, pixel, change):
    other = IMAGE.copy()
    other.flat[pixel] ^= np.uint8(change)
    key = sample_key({"gt_label": label, "img": IMAGE})
    assert key != sample_key({"gt_label": label, "img": other})
    assert key != sample_key({"gt_label": label + 1, "img": IMAGE})
    assert key != sample_key({"gt_label": label, "img": IMAGE.reshape(2, 8, 3)})
    assert key == sample_key({"gt_label": [label], "img": IMAGE.copy()[:, :, :]})


def test_a_sample_without_a_source_has_no_key():
    with pytest.raises(FeatureStoreError, match="img_path or img"):
        sample_key({"gt_label": 1})


def test_fingerprints_depend_on_the_order():
    assert dataset_fingerprint([1, 2, 2**64 - 1]) != dataset_fingerprint([2, 1, 2**64 - 1])
    assert dataset_fingerprint(np.array([1, 2], "<u8")) == dataset_fingerprint([1, 2])
