"""Finder for ``mmcv._ext`` where mmcv was installed without its compiled ops.

mmdet and mmseg import ``mmcv.ops``, which imports the extension ``mmcv._ext``. There
is no wheel of it for a current torch. The finder stands last in ``sys.meta_path``: a
compiled extension is found before it and nothing changes; without one,
:mod:`smallvit.compat.torchvision_ops` is loaded under that name, with a real module
spec, so that ``pkgutil`` and ``importlib`` look-ups see it too.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys

NAME = "mmcv._ext"
SOURCE = pathlib.Path(__file__).with_name("torchvision_ops.py")


class ExtFinder(importlib.abc.MetaPathFinder):
    """Answers for ``mmcv._ext`` after every other finder has said no."""

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
    """Whether ``mmcv._ext`` is (or would be) the bridge and not a compiled extension.

    Returns:
        bool: True if torchvision serves mmcv's ops.

    Raises:
        ModuleNotFoundError: If mmcv is not installed.
    """
    spec = importlib.util.find_spec(NAME)
    return spec is not None and spec.origin == str(SOURCE)
