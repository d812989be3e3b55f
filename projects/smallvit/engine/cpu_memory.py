"""Settings of the C memory allocator for runs on a CPU."""

from __future__ import annotations

import ctypes
import os
import sys

#: Environment variables with which glibc's allocator is configured.
VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
#: Parameters of ``mallopt`` as in ``malloc.h``.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER, LARGEST_BLOCK = -1, 1 << 30


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next allocation.

    Every training step allocates and frees tensors of the same sizes. By default, glibc returns
    large blocks to the operating system, which clears them page by page at the next allocation.
    The setting applies to the whole process. Values that the user set in the environment are kept.

    Returns:
        bool: Whether the allocator was configured; False with other C libraries.
    """
    if sys.platform != "linux" or any(name in os.environ for name in VARIABLES):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_TRIM_THRESHOLD, NEVER), (M_MMAP_THRESHOLD, LARGEST_BLOCK))
    return all(mallopt(key, value) for key, value in settings)
