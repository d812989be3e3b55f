"""File names in errors of unreadable label maps, and validation of label maps.

``LoadAnnotations`` of MMCV, MMDetection and MMSegmentation raises Pillow's or OpenCV's error
without the path. The classes are patched in place because dynamically created subclasses could not
be pickled for worker processes. Remove this once they name the file (MMCV 2.1, MMDetection 3.3 and
MMSegmentation 1.2 do not).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from smallvit.errors import ImageError


def install(loader: type, check: Callable[[str, dict | None], None] | None = None) -> None:
    """Make a ``LoadAnnotations`` class name the label map that it cannot read.

    Args:
        loader (type): A ``LoadAnnotations`` of MMCV, MMDetection or MMSegmentation, changed
            in place.
        check (Callable, optional): Validates a label map before it is read, given path and
            ``backend_args``; raises if it is not acceptable. Defaults to None.
    """
    read = loader._load_seg_map
    if hasattr(read, "__wrapped__"):
        return

    @wraps(read)
    def read_or_name(self, results: dict) -> None:
        path = results.get("seg_map_path")
        try:
            if path is not None and check is not None:
                check(path, getattr(self, "backend_args", None))
            read(self, results)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ImageError(f"{path}: {error}") from error

    loader._load_seg_map = read_or_name
