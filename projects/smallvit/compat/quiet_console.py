"""Shorter console output at the start of a run: MMEngine's details go to the log file only.

A run starts by printing the environment, the whole config, the hooks, the settings of each
parameter (about 750 lines for a small ViT) and MMEngine's warnings about its own components. The
console handler is patched to omit these records; the log file contains them. Remove this once
MMEngine has separate levels for its handlers (0.10.7 does not).
"""

from __future__ import annotations

import logging
import warnings
from functools import wraps

#: Prefixes of log records that go to the log file only.
FOR_THE_FILE = (
    *("\n" + "-" * 60, "Config:\n", "Hooks will be executed in", "paramwise_options -- "),
    *("parameter groups of the optimizer:", "Distributed training is not used"),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'),
    "The prefix is not set in metric class",
)
#: Warnings of the libraries about their own components.
NOT_FOR_USERS = (
    "``build_loss`` would be deprecated soon",
    "For binary segmentation, we suggest using",
    "Default ``avg_non_ignore`` is False",
)


class ConsoleFilter(logging.Filter):
    """Logging filter that hides records meant for the log file from the console."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide whether a record is shown.

        Args:
            record (logging.LogRecord): Record to be logged.

        Returns:
            bool: Whether it is shown; errors always are.
        """
        if record.levelno >= logging.ERROR or not isinstance(record.msg, str):
            return True
        return not record.msg.startswith(FOR_THE_FILE)


def install() -> None:
    """Patch MMEngine's loggers, both existing ones and those created later."""
    from mmengine.logging import MMLogger

    for text in NOT_FOR_USERS:
        # Escaped, as dots and brackets are special in warning patterns.
        warnings.filterwarnings("ignore", message=text.replace("`", "."), category=UserWarning)
    for logger in MMLogger._instance_dict.values():
        _quiet(logger)
    original = MMLogger.__init__
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def make(self: MMLogger, *args, **kwargs) -> None:
        original(self, *args, **kwargs)
        _quiet(self)

    MMLogger.__init__ = make


def _quiet(logger: logging.Logger) -> None:
    """Filter the console if a log file has all records; without one, or at DEBUG, show all."""
    consoles = [one for one in logger.handlers if not isinstance(one, logging.FileHandler)]
    if len(consoles) == len(logger.handlers):
        return
    for handler in consoles:
        quiet = any(isinstance(one, ConsoleFilter) for one in handler.filters)
        if handler.level > logging.DEBUG and not quiet:
            handler.addFilter(ConsoleFilter())
