"""Reading many files in worker processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

#: Items that a worker hands over at a time.
CHUNK = 16
#: Seconds between two pictures of the progress bar.
PROGRESS = 1.0


def read_all(dataset: Any, workers: int) -> Iterator[list]:
    """Read the items of a data set in order.

    Args:
        dataset (Sequence): The items; reading one is the work that is shared.
        workers (int): Processes; with 0 it is this one.

    Yields:
        list: A few items at a time.
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
            # Each update is a line in a log.
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
    """Let OpenCV print nothing: bad files are reported by who reads them."""
    import cv2

    # OpenCV 4 has the one, OpenCV 5 the other; both count the levels from 0, silent.
    logging = getattr(cv2.utils, "logging", cv2)
    logging.setLogLevel(0)


def _end_with_parent() -> None:
    """Torch's workers notice that they are alone, but then wait for a reader of their results."""
    multiprocessing.parent_process().join()
    os._exit(1)
