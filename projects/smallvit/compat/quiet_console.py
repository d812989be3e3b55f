"""One screen before the first step: what MMEngine logs for the record goes to the log file alone.

A run begins with the environment, the whole config, the hooks and a line for the settings of each
parameter, some 750 lines for a small ViT, and with warnings of MMEngine about its own parts. Its
console handler is patched to leave them out; the log file has them. To be left out where MMEngine
has a level for each of its handlers (0.10.7 has not).
"""

from __future__ import annotations

import logging
import warnings
from functools import wraps

#: How records begin that are for the log file.
FOR_THE_FILE = (
    *("\n" + "-" * 60, "Config:\n", "Hooks will be executed in", "paramwise_options -- "),
    *("parameter groups of the optimizer:", "Distributed training is not used"),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'),
    "The prefix is not set in metric class",
)
#: Python's warnings of the libraries about their own parts.
NOT_FOR_USERS = (
    "``build_loss`` would be deprecated soon",
    "For binary segmentation, we suggest using",
    "Default ``avg_non_ignore`` is False",
)


class ConsoleFilter(logging.Filter):
    """Leaves out of the console what is for the log file."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is shown.

        Args:
            record (logging.LogRecord): The record.

        Returns:
            bool: Whether it is. Errors always are.
        """
        if record.levelno >= logging.ERROR or not isinstance(record.msg, str):
            return True
        return not record.msg.startswith(FOR_THE_FILE)


def install() -> None:
    """Patch the loggers that MMEngine makes from now on, and those that it has made."""
    from mmengine.logging import MMLogger

    for text in NOT_FOR_USERS:
        # In a pattern of warnings a dot or a bracket would be a sign.
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
    """Filter the console where a file has it all; without a file, or at DEBUG, all is shown."""
    consoles = [one for one in logger.handlers if not isinstance(one, logging.FileHandler)]
    if len(consoles) == len(logger.handlers):
        return
    for handler in consoles:
        quiet = any(isinstance(one, ConsoleFilter) for one in handler.filters)
        if handler.level > logging.DEBUG and not quiet:
            handler.addFilter(ConsoleFilter())
