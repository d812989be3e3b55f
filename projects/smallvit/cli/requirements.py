"""The packages that every tool needs beside smallvit's own requirements."""

from __future__ import annotations

import importlib.util
import sys

from smallvit.errors import how_to_install

#: Upstream and the onedl forks install the same modules.
NEEDED = ("mmengine", "mmcv", "mmpretrain")


def require_mm_packages() -> None:
    """Leave the process with one sentence where an OpenMMLab package is missing.

    Smallvit's own requirements leave them out, because upstream and the forks write the same
    folders; a tool would end in an import error of whichever it reaches first.

    Raises:
        SystemExit: If a package is missing; nothing is imported to find out.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"error: {how_to_install(missing)}")
