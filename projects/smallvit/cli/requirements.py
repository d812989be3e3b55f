"""Check for the OpenMMLab packages that all tools require."""

from __future__ import annotations

import importlib.util
import sys

from smallvit.errors import how_to_install

#: Upstream and the onedl forks install the same modules.
NEEDED = ("mmengine", "mmcv", "mmpretrain")


def require_mm_packages() -> None:
    """Exit with an error message if an OpenMMLab package is missing.

    They are not in the requirements of smallvit, because upstream and the forks install into the
    same folders; without this check, tools would fail with an import error.

    Raises:
        SystemExit: If a package is missing. The check itself imports nothing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"error: {how_to_install(missing)}")
