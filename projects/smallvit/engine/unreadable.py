"""Classify errors from unreadable samples, and find the file that caused them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from PIL import UnidentifiedImageError

from smallvit.errors import DataError, ImageError, ImageStoreError, UserError

#: Errors of loading transforms that concern their settings, the annotations, the whole dataset or
#: a store of all images, rather than a single file.
MISTAKES = (
    *(KeyError, TypeError, ImportError, NotImplementedError),
    *(ImageStoreError, DataError, UserError),
)


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be read.

    Args:
        path (str): Path of its file, or its index if the dataset provides no path.
        reason (str): The exception that was raised.
    """

    path: str
    reason: str


def is_unreadable(error: BaseException) -> bool:
    """Check whether an error is due to an unreadable file, rather than a bug.

    Args:
        error (BaseException): Exception raised by a dataset.

    Returns:
        bool: True for image errors, and for exceptions that a loading transform raises because of
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
        dataset (Dataset): A dataset; MMEngine's provide the path.
        index (int): Index of the sample.

    Returns:
        str: The path, or "sample <index>".
    """
    try:
        info = dataset.get_data_info(index)
    except Exception:
        return f"sample {index}"
    return str(info.get("img_path") or info.get("img_id") or f"sample {index}")
