"""Validation of dataset files, with errors that name the file and a fix."""

import json
from typing import Any

from mmengine.fileio import exists, get_text

from smallvit.compat.moved import forward
from smallvit.errors import DataError

__getattr__ = forward(__name__)


def check_exists(path: str, dataset: str, layout: str) -> str:
    """Check that a file or folder exists.

    Args:
        path (str): The file or folder.
        dataset (str): The dataset's name, for the message.
        layout (str): What ``data_root`` has to be, for the message.

    Returns:
        str: The path.

    Raises:
        DataError: If it is missing.
    """
    if not exists(path):
        raise DataError(f"{dataset}: {path} is missing; {layout}")
    return path


def check_choice(value: Any, known: tuple, what: str) -> Any:
    """Check that a setting has one of the values that a dataset accepts.

    Args:
        value (Any): The setting.
        known (tuple): What it may be.
        what (str): What is asked for, such as "Chaoyang has no split", for the message.

    Returns:
        Any: The setting.

    Raises:
        ValueError: If it is another.
    """
    if value not in known:
        raise ValueError(f"{what} {value!r}. Choose one of {', '.join(map(str, known))}")
    return value


def read_json(path: str, name: str | None = None) -> Any:
    """Read a JSON file.

    Args:
        path (str): JSON file or URL.
        name (str, optional): Where it comes from, for the message. Defaults to None, the file.

    Returns:
        Any: Its content.

    Raises:
        DataError: If it is not JSON; a download that was cut off is not.
    """
    try:
        return json.loads(get_text(path, encoding="utf-8-sig"))  # some editors write a mark first
    except ValueError as error:
        raise DataError(
            f"{name or path} is not valid JSON ({error}). Restore or download it again"
        ) from error


def check_label(label: Any, count: int, where: str) -> int:
    """Check that a label is a valid class index.

    Args:
        label (Any): The label, as the file has it.
        count (int): Number of classes.
        where (str): File and place in it, for the message.

    Returns:
        int: The label.

    Raises:
        DataError: If it is no whole number from 0 to ``count - 1``.
    """
    try:
        number = int(label)
    except (TypeError, ValueError):
        number = -1
    if isinstance(label, float) or not 0 <= number < count:
        raise DataError(f"{where}: label {label!r} is outside the classes, 0 to {count - 1}")
    return number
