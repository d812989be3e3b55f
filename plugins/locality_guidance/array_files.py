"""Arrays in .npy files, written row by row with errors where a full disk would kill."""

from __future__ import annotations

import errno
import os

import numpy as np

#: A file system that cannot reserve space says so with one of these.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class ArrayFile:
    """An array whose rows are written in order.

    A row goes through ``write``, not through memory that is mapped to the file: where there is no
    space, that is an :class:`OSError` and not the signal SIGBUS.

    Args:
        path (str): A .npy file that :func:`create_array` made.
        array (np.memmap): The array as it is there, which tells where its values begin.
    """

    def __init__(self, path: str, array: np.memmap) -> None:
        self.path, self.dtype, self._start = path, array.dtype, array.offset
        self._row_bytes = array[:1].nbytes
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 closed by close()

    def write(self, first: int, rows: np.ndarray) -> None:
        """Write rows.

        Args:
            first (int): The first of them.
            rows (np.ndarray): (n, ...), of the array's type.
        """
        self._file.seek(self._start + first * self._row_bytes)
        rest = memoryview(np.ascontiguousarray(rows, self.dtype)).cast("B")
        while rest:
            rest = rest[self._file.write(rest) :]

    def flush(self) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def create_array(path: str, shape: tuple[int, ...], dtype: str) -> None:
    """Make a .npy file of zeros, whose space is reserved where the file system can do that.

    Args:
        path (str): The file.
        shape (tuple[int, ...]): Shape of the array.
        dtype (str): Its type.
    """
    size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": description, "fortran_order": False, "shape": shape}
        )
        file.flush()
        whole = file.tell() + size
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, whole)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        file.truncate(whole)
