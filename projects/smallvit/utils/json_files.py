"""Reading and validation of JSON files that may be untrusted or damaged."""

from __future__ import annotations

import json
import math
import os
import reprlib
from typing import Any

#: Size limit, larger than any file that is read with this module.
MAX_BYTES = 64 << 20


def read_object(path: str | os.PathLike) -> dict[str, Any]:
    """Read a JSON file that must contain an object.

    Args:
        path (str | os.PathLike): Path of the file.

    Returns:
        dict: Content of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the content is not a JSON object; the message is a short reason.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        with open(path, encoding="utf-8") as file:
            found = json.load(file, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a valid JSON number")


def require_number(value: Any, name: str, least: float = 0.0, most: float = 1e18) -> float:
    """Validate a number from a JSON file.

    Args:
        value (Any): Value in the file.
        name (str): Key of the value, for the error.
        least (float): Minimum. Defaults to 0.
        most (float): Maximum. Defaults to 1e18.

    Returns:
        float: The number, unchanged.

    Raises:
        ValueError: If it is not a number, or out of range.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not (math.isfinite(value) if isinstance(value, float) else True):
        raise ValueError(f"expected {name} to be a number, got {brief(value)}")
    if not least <= value <= most:
        raise ValueError(f"expected {name} from {least:g} to {most:g}, got {brief(value)}")
    return value


def require_count(value: Any, name: str, least: int = 0, most: int = 1 << 53) -> int:
    """Validate an integer from a JSON file; see :func:`require_number`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected {name} to be an integer, got {brief(value)}")
    return int(require_number(value, name, least, most))


def require_type(value: Any, name: str, *kinds: type) -> Any:
    """Validate the type of a value from a JSON file.

    Args:
        value (Any): Value in the file.
        name (str): Key of the value, for the error.
        *kinds (type): Accepted types.

    Returns:
        Any: The value, unchanged.

    Raises:
        ValueError: If it has another type.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"expected {name} to be of type {wanted}, got {brief(value)}")
    return value


def brief(value: Any) -> str:
    """Format a value of any size and depth for a message.

    Args:
        value (Any): Value to format.

    Returns:
        str: The text, about 80 characters at most.
    """
    try:
        return reprlib.repr(value)[:80]
    except (ValueError, RecursionError):  # Python refuses to print integers of thousands of digits
        return f"a {type(value).__name__}"
