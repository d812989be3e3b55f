"""Log the error that ends a run."""

from __future__ import annotations

import logging
import os.path as osp
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger

from smallvit.errors import PreemptedError
from smallvit.explain import explain


@contextmanager
def log_failures(work_dir: str) -> Iterator[None]:
    """Write the error that ends a run to its log file; no file is removed.

    Args:
        work_dir (str): The work folder.

    Yields:
        None: While the run is in progress.
    """
    try:
        yield
    except Exception as error:
        reason = explain(error) or "".join(traceback.format_exception(error))
        preempted = isinstance(error, PreemptedError)
        message = reason if preempted else f"the run failed: {reason}"
        level = logging.WARNING if preempted else logging.ERROR
        for handler in _log_files(work_dir):
            # Not through the logger, which would print the message a second time.
            handler.handle(
                logging.makeLogRecord(
                    {"msg": message, "levelno": level, "levelname": logging.getLevelName(level)}
                )
            )
        raise


def _log_files(work_dir: str) -> list[logging.FileHandler]:
    folder = osp.join(osp.abspath(work_dir), "")
    return [
        handler
        for logger in MMLogger._instance_dict.values()
        for handler in logger.handlers
        if isinstance(handler, logging.FileHandler) and handler.baseFilename.startswith(folder)
    ]
