"""Resumable, atomic writing of LMDB image stores.

A store maps file paths to file contents and contains no pickled data. Two additional keys,
``__meta__`` (JSON) and ``__annotations__`` (lines of ``path label``), describe the store.
"""

from __future__ import annotations

import json
import os
import os.path as osp
from collections.abc import Iterable
from typing import Any

from smallvit.datasets.io.image_lists import ImageList, annotation_text
from smallvit.datasets.io.lmdb_backend import PARTIAL
from smallvit.errors import UserError
from smallvit.utils.files import flush_folder, write_whole
from smallvit.utils.locks import HeldError, hold, release
from smallvit.utils.text import shorten

META, ANNOTATIONS = b"__meta__", b"__annotations__"
ANNOTATION_FILE, CLASS_FILE, SKIPPED_FILE = "annotations.txt", "classes.txt", "skipped.txt"
FORMAT = "smallvit-images"
VERSION = 1
#: Initial map size, doubled when the map is full. The file grows as it is written.
FIRST_MAP = 1 << 30
#: Bytes of images per transaction, the maximum that is lost if the process is killed.
TRANSACTION = 1 << 25


def read_meta(path: str) -> dict[str, Any] | None:
    """Read the metadata of a store.

    Args:
        path (str): Path of the store.

    Returns:
        dict | None: ``images``, ``classes``, ``skipped`` and ``list`` of a finished store, or
        None if the path is not a store in this format.
    """
    import lmdb

    try:
        with lmdb.open(path, readonly=True, lock=False) as store, store.begin() as transaction:
            meta = _decoded(transaction.get(META))
    except lmdb.Error:
        return None
    counts = ("images", "skipped")
    whole = meta.get("format") == FORMAT and "list" in meta
    return meta if whole and all(type(meta.get(key)) is int for key in counts) else None


def _decoded(content: bytes | None) -> dict[str, Any]:
    """Decode the metadata of a store. Returns an empty dict if it is damaged."""
    try:
        meta = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}


class LMDBWriter:
    """Writer of an LMDB store, under a temporary name next to the final path.

    The store is locked against other processes until :meth:`close` is called.

    Args:
        path (str): Path of the store.
        images (ImageList): Images to store.

    Raises:
        UserError: If file names are not valid keys, the path is not writable, another process is
            writing the store, or an unfinished store from another source exists.
    """

    def __init__(self, path: str, images: ImageList) -> None:
        self.path, self.images = path, images
        self.partial = path + PARTIAL
        folder, name = osp.split(osp.abspath(path))
        self._lock = osp.join(folder, f".{name}.writing")
        self._hold()
        try:
            self.store = self._open()
        except BaseException:
            release(self._lock, remove=True)
            raise
        self.stored: set[str] = set()
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        try:
            self._check_names()
            self._check_source()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LMDBWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store. Committed images are kept."""
        self.store.close()
        release(self._lock, remove=True)

    def _hold(self) -> None:
        try:
            hold(self._lock, self.partial, "writer")
        except HeldError as error:
            raise UserError(f"{error}. Wait for it to finish, or write another store") from None
        except OSError as error:
            raise UserError(f"cannot write {self.partial}: {error}") from error

    def _open(self) -> Any:
        import lmdb

        try:
            os.makedirs(self.partial, exist_ok=True)
            # Some systems do not allow shrinking an existing map.
            file = osp.join(self.partial, "data.mdb")
            size = osp.getsize(file) if osp.isfile(file) else 0
            return lmdb.open(self.partial, map_size=max(FIRST_MAP, 2 * size))
        except lmdb.InvalidError as error:
            raise UserError(
                f"{self.partial} is damaged ({error}). Remove it and start again"
            ) from error
        except (OSError, lmdb.Error) as error:
            raise UserError(f"cannot write {self.partial}: {error}") from error

    def _check_names(self) -> None:
        longest = self.store.max_key_size()
        problems = []
        for name, _ in self.images.samples:
            try:
                key = name.encode()
            except UnicodeEncodeError:
                problems.append(f"{name!r} is not UTF-8")
                continue
            if len(key) > longest:
                problems.append(f"{name!r} has {len(key)} bytes, above the key limit of {longest}")
            elif name != name.strip() or len(name.splitlines()) != 1:
                problems.append(f"{name!r} cannot be stored in an annotation file")
        if problems:
            raise UserError(
                f"{self.images.root}: rename files that are not valid keys:\n  {shorten(problems)}"
            )

    def _check_source(self) -> None:
        root = osp.abspath(self.images.root)
        with self.store.begin() as transaction:
            found = transaction.get(META)
        meta = {"format": FORMAT} if found is None else _decoded(found)
        # A store interrupted after its metadata was written no longer records its source.
        source = meta.get("source", root) if meta.get("format") == FORMAT else None
        if source != root:
            begun = (
                f"from {source}" if isinstance(source, str) else "by another tool, or is damaged"
            )
            raise UserError(
                f"{self.partial} was started {begun}. Remove it to start again from {root}"
            )
        meta = {"format": FORMAT, "version": VERSION, "source": root}
        self._commit([(META, json.dumps(meta).encode())])

    def resume(self) -> list[str]:
        """Compare stored images of an interrupted run with the files, and discard mismatches.

        Returns:
            list[str]: Paths that remain to be stored, in order.

        Raises:
            UserError: If the store cannot be written.
        """
        with self.store.begin(buffers=True) as transaction:
            sizes = {bytes(key): len(value) for key, value in transaction.cursor()}
        del sizes[META]
        wanted = {name.encode(): name for name, _ in self.images.samples}
        same = {
            key for key in sizes.keys() & wanted.keys() if sizes[key] == self._size(wanted[key])
        }
        self._commit([], remove=sizes.keys() - same)
        self.stored = {wanted[key] for key in same}
        return [name for name, _ in self.images.samples if name not in self.stored]

    def _size(self, name: str) -> int | None:
        try:
            return osp.getsize(osp.join(self.images.root, name))
        except OSError:
            return None

    def add(self, name: str, content: bytes) -> None:
        """Store a file in the current transaction.

        Args:
            name (str): Path of the file in the image list.
            content (bytes): Content of the file.

        Raises:
            UserError: If the store cannot be written.
        """
        self._pending.append((name.encode(), content))
        self._pending_bytes += len(content)
        if self._pending_bytes >= TRANSACTION:
            self.flush()

    def flush(self) -> None:
        """Commit the current transaction.

        Raises:
            UserError: If the store cannot be written.
        """
        self._commit(self._pending)
        self.stored.update(key.decode() for key, _ in self._pending)
        self._pending, self._pending_bytes = [], 0

    def _commit(self, pairs: list[tuple[bytes, bytes]], remove: Iterable[bytes] = ()) -> None:
        import lmdb

        while True:
            try:
                with self.store.begin(write=True) as transaction:
                    for key in remove:
                        transaction.delete(key)
                    for key, value in pairs:
                        transaction.put(key, value)
                return
            except lmdb.MapFullError:
                self.store.set_mapsize(2 * self.store.info()["map_size"])
            except lmdb.Error as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> UserError:
        return UserError(
            f"cannot write {self.partial}: {error}. Is the disk full? {len(self.stored)} images "
            "are stored. Free some space and run the same command again to resume"
        )

    def finish(self, skipped: dict[str, str]) -> None:
        """Write the metadata and rename the store to its final name.

        Args:
            skipped (dict[str, str]): Mapping from skipped images to the reasons.

        Raises:
            UserError: If the store cannot be written, or the final path exists by now.
        """
        samples = [sample for sample in self.images.samples if sample[0] not in skipped]
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "images": len(samples),
            "classes": self.images.classes,
            "skipped": len(skipped),
            "list": self.images.digest,
        }
        text = annotation_text(samples)
        self._commit([(META, json.dumps(meta).encode()), (ANNOTATIONS, text.encode())])
        self.store.close()
        names = "".join(f"{name}\n" for name in self.images.classes or ())
        reasons = "".join(f"{name}\t{reason}\n" for name, reason in skipped.items())
        beside = {ANNOTATION_FILE: text, CLASS_FILE: names, SKIPPED_FILE: reasons}
        try:
            for file, content in beside.items():
                if content:
                    write_whole(osp.join(self.partial, file), content)
            os.remove(osp.join(self.partial, "lock.mdb"))  # readers do not lock
            os.rename(self.partial, self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        flush_folder(osp.dirname(osp.abspath(self.path)))
        release(self._lock, remove=True)
