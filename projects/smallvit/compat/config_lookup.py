"""Config inheritance across packages (``_base_ = 'mmdet::...'``) on today's setuptools."""

import importlib.util
import os.path as osp
from importlib import metadata

from mmengine.config import config as mmengine_config
from mmengine.config.utils import MODULE2PACKAGE


def install() -> None:
    """Make ``smallvit::`` a config scope, and ``xxx::`` work without ``pkg_resources``.

    MMEngine 0.10 finds packages through ``pkg_resources``, which setuptools 82 no
    longer ships. Where it is missing, ``importlib.metadata`` answers instead.
    """
    MODULE2PACKAGE.setdefault("smallvit", "smallvit")
    if importlib.util.find_spec("pkg_resources") is None:
        mmengine_config.is_installed = is_installed
        mmengine_config.get_installed_path = get_installed_path


def is_installed(package: str) -> bool:
    """Tell whether a distribution or a module of that name is there.

    Args:
        package (str): Name of a distribution (``mmsegmentation``) or a module.

    Returns:
        bool: True if it is installed or importable.
    """
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return importlib.util.find_spec(package) is not None
    return True


def get_installed_path(package: str) -> str:
    """Folder of the module that a distribution installs.

    Args:
        package (str): Name of a distribution or a module.

    Returns:
        str: The folder that holds the module's ``__init__.py``.

    Raises:
        ModuleNotFoundError: If neither a distribution nor a module has that name.
    """
    for module in [package, *_top_level_modules(package)]:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            return osp.dirname(spec.origin)
    raise ModuleNotFoundError(
        f"package {package!r} is not installed; a config inherits from it: pip install {package}"
    )


def _top_level_modules(package: str) -> list[str]:
    try:
        text = metadata.distribution(package).read_text("top_level.txt")
    except metadata.PackageNotFoundError:
        return []
    return (text or "").split()
