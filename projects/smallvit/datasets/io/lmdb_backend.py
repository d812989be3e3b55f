"""LMDB file backend for MMEngine with integrity checks and actionable error messages."""

from __future__ import annotations

import os
import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.fileio import LmdbBackend, register_backend

from smallvit.errors import ImageError, ImageStoreError

BUILD = "tools/dataset_converters/folder2lmdb.py"
#: Name suffix of an incomplete store.
PARTIAL = ".partial"


class CheckedLmdbBackend(LmdbBackend):
    """LMDB backend with support for UTF-8 keys and detection of damaged stores.

    Each process opens a store once and shares the handle between backends, because lmdb does not
    allow a process to open a store twice. Handles are not reused after a fork.

    Args:
        db_path (str): Path of the LMDB store.
        **kwargs: Arguments of :class:`mmengine.fileio.LmdbBackend`.
    """

    _handles: dict[str, tuple[int, Any]] = {}

    def get(self, filepath: str | Path) -> bytes:
        """Read a file from the store.

        Args:
            filepath (str | Path): Key of the file in the store.

        Returns:
            bytes: Content of the stored file.

        Raises:
            ImageStoreError: If the store cannot be opened.
            ImageError: If the key does not exist.
        """
        import lmdb

        key = str(filepath)
        try:
            with self._handle().begin() as transaction:
                value = transaction.get(key.encode())
        except lmdb.BadValsizeError:  # too long for a key, or empty
            value = None
        if value is None:
            raise ImageError(self._describe_missing(key))
        return value

    def _handle(self) -> Any:
        path = osp.realpath(self.db_path)
        process, handle = self._handles.get(path, (None, None))
        if process == os.getpid():
            return handle
        if handle is not None:
            handle.close()
        self._handles[path] = os.getpid(), self._get_client()
        return self._handles[path][1]

    def _get_client(self) -> Any:
        import lmdb

        try:
            client = super()._get_client()
        except lmdb.Error as error:
            raise ImageStoreError(self._describe_failure(error)) from error
        # Reading past the end of a truncated store would kill the process with SIGBUS.
        wanted = (client.info()["last_pgno"] + 1) * client.stat()["psize"]
        file = osp.join(self.db_path, "data.mdb") if osp.isdir(self.db_path) else self.db_path
        size = osp.getsize(file)
        if size < wanted:
            client.close()
            raise ImageStoreError(
                f"{self.db_path}: truncated LMDB store ({size} of {wanted} bytes). Copy it again, "
                f"or rebuild it with {BUILD}"
            )
        return client

    def _describe_failure(self, error: Exception) -> str:
        path = self.db_path
        if osp.isdir(path + PARTIAL) and not osp.exists(path):
            return f"{path} is not finished. Run {BUILD} again with the same arguments to resume"
        if not osp.exists(path) or (osp.isdir(path) and "data.mdb" not in os.listdir(path)):
            return (
                f"no LMDB store at {path} (backend_args.db_path). Build it with {BUILD} FOLDER "
                f"{path}"
            )
        if osp.isfile(path) and "subdir" not in self.kwargs:
            return (
                f"{path} is a file, expected the folder of an LMDB store as written by {BUILD}. "
                "For a single-file store, add subdir=False to backend_args"
            )
        return f"{path} is not an LMDB store ({error}). Rebuild it with {BUILD}"

    def _describe_missing(self, key: str) -> str:
        with self._handle().begin() as transaction:
            keys = (bytes(one) for one in transaction.cursor().iternext(values=False))
            example = next((one for one in keys if not one.startswith(b"__")), None)
        if example is None:
            return f"{self.db_path} contains no images, got key {key!r}. Rebuild it with {BUILD}"
        return (
            f"{self.db_path} has no key {key!r}; an existing key is "
            f"{example.decode(errors='replace')!r}. Keys are image paths prefixed with data_root "
            f"and data_prefix. Set both to '', or rebuild the store with {BUILD}"
        )


def install() -> None:
    """Register ``CheckedLmdbBackend`` as MMEngine's file backend ``lmdb``."""
    register_backend("lmdb", CheckedLmdbBackend, force=True)
