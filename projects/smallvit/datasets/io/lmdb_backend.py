"""MMEngine's LMDB backend, with errors that name the store and the way out."""

from __future__ import annotations

import os
import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.fileio import LmdbBackend, register_backend

from smallvit.errors import ImageError, ImageStoreError

BUILD = "tools/dataset_converters/folder2lmdb.py"
#: What the name of a store that is being written ends with.
PARTIAL = ".partial"


class CheckedLmdbBackend(LmdbBackend):
    """MMEngine's LMDB backend for stores of image files, and for keys in any script.

    A store is opened once in each process, whatever backends read it: lmdb refuses to open
    it a second time, and a handle from before a fork belongs to the parent.

    Args:
        db_path (str): The store.
        **kwargs: Those of :class:`mmengine.fileio.LmdbBackend`.
    """

    _handles: dict[str, tuple[int, Any]] = {}

    def get(self, filepath: str | Path) -> bytes:
        """Read a value.

        Args:
            filepath (str | Path): The key.

        Returns:
            bytes: The value.

        Raises:
            ImageStoreError: If the store cannot be opened.
            ImageError: If it has no such key.
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
        # Reading behind the end of a truncated store would end the process by a signal.
        wanted = (client.info()["last_pgno"] + 1) * client.stat()["psize"]
        file = osp.join(self.db_path, "data.mdb") if osp.isdir(self.db_path) else self.db_path
        size = osp.getsize(file)
        if size < wanted:
            client.close()
            raise ImageStoreError(
                f"{self.db_path}: truncated LMDB store ({size} of {wanted} bytes): copy it again, "
                f"or rebuild it with {BUILD}"
            )
        return client

    def _describe_failure(self, error: Exception) -> str:
        path = self.db_path
        if osp.isdir(path + PARTIAL) and not osp.exists(path):
            return f"{path} is not finished: run the command of {BUILD} again, and it continues"
        if not osp.exists(path) or (osp.isdir(path) and "data.mdb" not in os.listdir(path)):
            return (
                f"no LMDB store at {path} (backend_args.db_path): build it with {BUILD} FOLDER "
                f"{path}"
            )
        if osp.isfile(path) and "subdir" not in self.kwargs:
            return (
                f"{path} is a file, not the folder of an LMDB store ({BUILD} writes one); for a "
                "store that is one file, add subdir=False to backend_args"
            )
        return f"{path} is not an LMDB store ({error}): rebuild it with {BUILD}"

    def _describe_missing(self, key: str) -> str:
        with self._handle().begin() as transaction:
            keys = (bytes(one) for one in transaction.cursor().iternext(values=False))
            example = next((one for one in keys if not one.startswith(b"__")), None)
        if example is None:
            return f"{self.db_path} holds no images (asked for {key!r}): rebuild it with {BUILD}"
        return (
            f"{self.db_path} has no key {key!r}; its keys are such as "
            f"{example.decode(errors='replace')!r}. A key is the image's path with data_root and "
            f"data_prefix before it: set both to '', or rebuild the store with {BUILD}"
        )


def install() -> None:
    """Check stores wherever ``backend_args`` say ``backend='lmdb'``."""
    register_backend("lmdb", CheckedLmdbBackend, force=True)
