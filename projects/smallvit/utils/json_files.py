"""JSON files that may be damaged or made up, read without a surprise."""

from __future__ import annotations

import json
import math
import os
import reprlib
from typing import Any

#: More than any of the files that are read so.
MAX_BYTES = 64 << 20


def read_object(path: str | os.PathLike) -> dict[str, Any]:
    """Read a JSON file that must hold an object.

    Args:
        path (str | os.PathLike): The file.

    Returns:
        dict: Its content.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is anything else; the message says what in a few words.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        with open(path, encoding="utf-8") as file:
            found = json.load(file, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} where an object should be")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def require_number(value: Any, name: str, least: float = 0.0, most: float = 1e18) -> float:
    """Check a number of a JSON file.

    Args:
        value (Any): What the file says.
        name (str): Its key, for the error.
        least (float): The least that is possible. Defaults to 0.
        most (float): The most. Defaults to 1e18.

    Returns:
        float: The number, as it is.

    Raises:
        ValueError: If it is none, or out of range.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not (math.isfinite(value) if isinstance(value, float) else True):
        raise ValueError(f"{name} is {brief(value)}, no number")
    if not least <= value <= most:
        raise ValueError(f"{name} is {brief(value)}, out of {least:g} to {most:g}")
    return value


def require_count(value: Any, name: str, least: int = 0, most: int = 1 << 53) -> int:
    """Check a whole number of a JSON file; see :func:`require_number`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is {brief(value)}, no whole number")
    return int(require_number(value, name, least, most))


def require_type(value: Any, name: str, *kinds: type) -> Any:
    """Check the type of a value of a JSON file.

    Args:
        value (Any): What the file says.
        name (str): Its key, for the error.
        *kinds (type): The types that it may be of.

    Returns:
        Any: The value.

    Raises:
        ValueError: If it is of another.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name} is {brief(value)}, no {wanted}")
    return value


def brief(value: Any) -> str:
    """Write a value into a message, whatever its size and depth.

    Args:
        value (Any): The value.

    Returns:
        str: At most some 80 characters.
    """
    try:
        return reprlib.repr(value)[:80]
    except (ValueError, RecursionError):  # Python writes no integers of thousands of digits
        return f"a {type(value).__name__}"
