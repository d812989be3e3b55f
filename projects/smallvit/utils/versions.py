"""Comparing versions of other packages."""

import re


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, what comes after them left out.

    Args:
        version (str): A version such as "2.14.1+cpu" or "1.0.27.dev0".

    Returns:
        tuple[int, ...]: Its numbers, e.g. (2, 14, 1); they compare as versions do.
    """
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", version)[0].split("."))
