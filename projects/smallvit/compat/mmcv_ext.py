"""Import finder for ``mmcv._ext`` if mmcv was installed without its compiled ops.

mmdet and mmseg import ``mmcv.ops``, which imports the extension ``mmcv._ext``, for which there is
no wheel for current versions of torch. The finder is the last in ``sys.meta_path``, so a compiled
extension takes precedence. Otherwise :mod:`smallvit.compat.torchvision_ops` is loaded under that
name, with a real module spec, so that ``pkgutil`` and ``importlib`` find it too.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys

NAME = "mmcv._ext"
SOURCE = pathlib.Path(__file__).with_name("torchvision_ops.py")


class ExtFinder(importlib.abc.MetaPathFinder):
    """Finder for ``mmcv._ext``, used if every other finder fails."""

    def find_spec(self, fullname, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """Spec of the bridge module if ``fullname`` is ``mmcv._ext``, else None."""
        if fullname != NAME:
            return None
        return importlib.util.spec_from_file_location(NAME, SOURCE)


def install() -> None:
    """Append the finder to ``sys.meta_path`` unless it is there already."""
    if not any(isinstance(finder, ExtFinder) for finder in sys.meta_path):
        sys.meta_path.append(ExtFinder())


def is_bridged() -> bool:
    """Check whether ``mmcv._ext`` is (or would be) the bridge rather than a compiled extension.

    Returns:
        bool: True if torchvision provides mmcv's ops.

    Raises:
        ModuleNotFoundError: If mmcv is not installed.
    """
    spec = importlib.util.find_spec(NAME)
    return spec is not None and spec.origin == str(SOURCE)
