"""Version comparison for other packages."""

import re


def release(version: str) -> tuple[int, ...]:
    """Parse the numeric part of a version.

    Args:
        version (str): A version such as "2.14.1+cpu" or "1.0.27.dev0".

    Returns:
        tuple[int, ...]: Its numbers, e.g. (2, 14, 1), which compare in version order.
    """
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", version)[0].split("."))
