"""Parallel loading of dataset items with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

#: Number of items per batch of a worker.
CHUNK = 16
#: Minimum interval between progress bar updates, in seconds.
PROGRESS = 1.0


def read_all(dataset: Any, workers: int) -> Iterator[list]:
    """Load all items of a dataset in order.

    Args:
        dataset (Sequence): Map-style dataset with ``__getitem__`` and ``__len__``.
        workers (int): Maximum number of worker processes; 0 to load in the current process.

    Yields:
        list: Batch of up to ``CHUNK`` consecutive items.
    """
    from mmengine.utils import ProgressBar
    from torch.utils.data import DataLoader

    if not len(dataset):
        return
    loader = DataLoader(
        dataset,
        batch_size=CHUNK,
        collate_fn=list,
        num_workers=min(workers, -(-len(dataset) // CHUNK)),
        worker_init_fn=_start_worker,
    )
    bar = ProgressBar(len(dataset), file=sys.stderr)
    read, shown = 0, time.monotonic()
    try:
        for items in loader:
            yield items
            read += len(items)
            # In a log file, every update is a new line.
            if read == len(dataset) or time.monotonic() - shown > PROGRESS:
                bar.update(read - bar.completed)
                shown = time.monotonic()
    finally:
        print(file=sys.stderr)


def _start_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    _silence_opencv()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _silence_opencv() -> None:
    """Disable OpenCV's log, because the caller reports unreadable files."""
    import cv2

    # cv2.utils.logging exists in OpenCV 4, cv2.setLogLevel in OpenCV 5; level 0 is silent in both.
    logging = getattr(cv2.utils, "logging", cv2)
    logging.setLogLevel(0)


def _end_with_parent() -> None:
    """Exit when the parent process exits; torch's workers would block on their result queue."""
    multiprocessing.parent_process().join()
    os._exit(1)
