"""Which errors mean that a sample's file cannot be read, and which file that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from PIL import UnidentifiedImageError

from smallvit.errors import DataError, ImageError, ImageStoreError, UserError

#: What a loading transform raises when its settings or the annotations are wrong, the data as a
#: whole, or a store of all images is.
MISTAKES = (
    *(KeyError, TypeError, ImportError, NotImplementedError),
    *(ImageStoreError, DataError, UserError),
)


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be read.

    Args:
        path (str): Its file, or its index where the data set tells none.
        reason (str): What was raised.
    """

    path: str
    reason: str


def is_unreadable(error: BaseException) -> bool:
    """Tell whether an error comes from reading a file, rather than from a bug.

    Args:
        error (BaseException): What a data set raised.

    Returns:
        bool: True for image errors, and for what a loading transform raises because of
        the file it reads.
    """
    if isinstance(error, (ImageError, UnidentifiedImageError)):
        return True
    if isinstance(error, MISTAKES):
        return False
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, (LoadImageFromFile, LoadAnnotations)):
            return True
        trace = trace.tb_next
    return False


def sample_path(dataset: Any, index: int) -> str:
    """Find the file of a sample.

    Args:
        dataset (Dataset): A data set; MMEngine's can tell.
        index (int): Index of the sample.

    Returns:
        str: The path, or "sample <index>".
    """
    try:
        info = dataset.get_data_info(index)
    except Exception:
        return f"sample {index}"
    return str(info.get("img_path") or info.get("img_id") or f"sample {index}")
