"""Validation of dataset files, with error messages that name the file and suggest a fix."""

import json
from typing import Any

from mmengine.fileio import exists, get_text

from smallvit.compat.moved import forward
from smallvit.errors import DataError

__getattr__ = forward(__name__)


def check_exists(path: str, dataset: str, layout: str) -> str:
    """Check that a file or folder exists.

    Args:
        path (str): Path of the file or folder.
        dataset (str): Name of the dataset, used in the error message.
        layout (str): Expected content of ``data_root``, used in the error message.

    Returns:
        str: ``path``, unchanged.

    Raises:
        DataError: If ``path`` does not exist.
    """
    if not exists(path):
        raise DataError(f"{dataset}: {path} is missing; {layout}")
    return path


def check_choice(value: Any, known: tuple, what: str) -> Any:
    """Check that a setting has one of the supported values.

    Args:
        value (Any): Value of the setting.
        known (tuple): Supported values.
        what (str): Beginning of the error message, such as "Chaoyang has no split".

    Returns:
        Any: ``value``, unchanged.

    Raises:
        ValueError: If ``value`` is not in ``known``.
    """
    if value not in known:
        raise ValueError(f"{what} {value!r}. Choose one of {', '.join(map(str, known))}")
    return value


def read_json(path: str, name: str | None = None) -> Any:
    """Read a JSON file.

    Args:
        path (str): Path or URL of the JSON file.
        name (str, optional): Name of the file in the error message. Defaults to None, which uses
            ``path``.

    Returns:
        Any: Parsed content.

    Raises:
        DataError: If the file is not valid JSON, for example after an incomplete download.
    """
    try:
        return json.loads(get_text(path, encoding="utf-8-sig"))  # some editors prepend a BOM
    except ValueError as error:
        raise DataError(
            f"{name or path} is not valid JSON ({error}). Restore or download it again"
        ) from error


def check_label(label: Any, count: int, where: str) -> int:
    """Check that a label is a valid class index.

    Args:
        label (Any): Label as read from the file.
        count (int): Number of classes.
        where (str): File and position of the label, used in the error message.

    Returns:
        int: Class index.

    Raises:
        DataError: If ``label`` is not an integer in ``[0, count - 1]``.
    """
    try:
        number = int(label)
    except (TypeError, ValueError):
        number = -1
    if isinstance(label, float) or not 0 <= number < count:
        raise DataError(f"{where}: label {label!r} is outside the classes, 0 to {count - 1}")
    return number
