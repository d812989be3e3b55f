"""Row-by-row writing of .npy files that raises an error if the disk is full."""

from __future__ import annotations

import errno
import os

import numpy as np

#: Error numbers of file systems that do not support reserving space.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class ArrayFile:
    """Writer for the rows of an array in a .npy file.

    Rows are written with ``write`` instead of a memory map, so that a full disk raises an
    :class:`OSError` instead of the signal SIGBUS.

    Args:
        path (str): A .npy file that :func:`create_array` created.
        array (np.memmap): The array in the file, for its type and the offset of its values.
    """

    def __init__(self, path: str, array: np.memmap) -> None:
        self.path, self.dtype, self._start = path, array.dtype, array.offset
        self._row_bytes = array[:1].nbytes
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 closed by close()

    def write(self, first: int, rows: np.ndarray) -> None:
        """Write consecutive rows.

        Args:
            first (int): Index of the first row.
            rows (np.ndarray): Rows (n, ...) of the array's type.
        """
        self._file.seek(self._start + first * self._row_bytes)
        rest = memoryview(np.ascontiguousarray(rows, self.dtype)).cast("B")
        while rest:
            rest = rest[self._file.write(rest) :]

    def flush(self) -> None:
        """Flush written rows to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def create_array(path: str, shape: tuple[int, ...], dtype: str) -> None:
    """Create a .npy file of zeros, and reserve its space if the file system supports that.

    Args:
        path (str): Path to write.
        shape (tuple[int, ...]): Shape of the array.
        dtype (str): NumPy type of the array.
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
