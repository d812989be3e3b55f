import os

import lmdb
import mmengine.fileio as fileio
import pytest

from smallvit.datasets.io import images
from smallvit.datasets.io.lmdb_backend import CheckedLmdbBackend
from smallvit.engine.unreadable import is_unreadable
from smallvit.errors import ImageError, ImageStoreError
from smallvit.explain import explain

VALUES = {"cat/1.jpg": b"one", "dog/Frühling 2.jpg": b"two"}


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "images.lmdb"
    with lmdb.open(str(path)) as handle, handle.begin(write=True) as transaction:
        for key, value in VALUES.items():
            transaction.put(key.encode(), value)
    return path


def test_reads_through_backend_args(store):
    images.install("mmpretrain")
    arguments = dict(backend="lmdb", db_path=str(store))
    for key, value in VALUES.items():
        assert fileio.get(key, backend_args=arguments) == value


def test_several_backends_share_a_store(store):
    one, other = CheckedLmdbBackend(store), CheckedLmdbBackend(str(store), readahead=True)
    assert one.get("cat/1.jpg") == other.get("cat/1.jpg") == b"one"


def test_a_forked_process_reopens_the_store(store):
    backend = CheckedLmdbBackend(store)
    backend.get("cat/1.jpg")
    handle = backend._handle()
    child = os.fork()
    if child == 0:
        own = backend.get("cat/1.jpg") == b"one" and backend._handle() is not handle
        os._exit(0 if own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.get("cat/1.jpg") == b"one"
    assert backend._handle() is handle


def test_a_missing_key_is_named(store):
    with pytest.raises(ImageError) as caught:
        CheckedLmdbBackend(store).get("train/cat/1.jpg")
    message = str(caught.value)
    assert message.startswith(f"{store} has no key 'train/cat/1.jpg'")
    assert "an existing key is 'cat/1" in message
    assert "data_prefix" in message
    assert is_unreadable(caught.value)


def test_a_store_without_keys_is_named(tmp_path):
    path = tmp_path / "none.lmdb"
    lmdb.open(str(path)).close()
    with pytest.raises(ImageError, match=r"none\.lmdb contains no images, got key 'cat/1\.jpg'"):
        CheckedLmdbBackend(path).get("cat/1.jpg")


@pytest.mark.parametrize("key", ["", "x" * 600])
def test_invalid_keys_are_reported_as_missing(store, key):
    with pytest.raises(ImageError, match="has no key"):
        CheckedLmdbBackend(store).get(key)


def open_failing(path):
    with pytest.raises(ImageStoreError) as caught:
        CheckedLmdbBackend(path).get("cat/1.jpg")
    assert not is_unreadable(caught.value)  # no other sample is loaded instead
    assert explain(caught.value) == str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_store_is_named(tmp_path):
    message = open_failing(tmp_path / "missing.lmdb")
    assert "no LMDB store at" in message
    assert "folder2lmdb.py FOLDER" in message


def test_image_folders_are_rejected(tmp_path):
    (tmp_path / "cat").mkdir()
    assert "no LMDB store at" in open_failing(tmp_path)


def test_an_unfinished_store_is_continued(tmp_path):
    (tmp_path / "images.lmdb.partial").mkdir()
    assert "is not finished. Run" in open_failing(tmp_path / "images.lmdb")


def test_other_files_are_rejected(store):
    (store / "data.mdb").write_bytes(b"something else" * 1000)
    assert "is not an LMDB store (" in open_failing(store)


def test_a_truncated_store_does_not_end_the_process(store):
    file = store / "data.mdb"
    file.write_bytes(file.read_bytes()[: 2 * os.sysconf("SC_PAGESIZE")])
    assert "truncated LMDB store" in open_failing(store)


def test_a_store_of_one_file_needs_its_setting(tmp_path):
    path = tmp_path / "images.mdb"
    with lmdb.open(str(path), subdir=False) as handle, handle.begin(write=True) as transaction:
        transaction.put(b"cat/1.jpg", b"one")
    assert "subdir=False" in open_failing(path)
    assert CheckedLmdbBackend(path, subdir=False).get("cat/1.jpg") == b"one"
