"""Config inheritance across packages (``_base_ = 'mmdet::...'``) with current setuptools."""

import importlib.util
import os.path as osp
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec

from smallvit.errors import how_to_install


def install() -> None:
    """Make ``smallvit::`` a config scope, and look up packages with ``importlib``.

    MMEngine 0.10 uses ``pkg_resources``, which setuptools 82 no longer ships and which
    returns a folder that does not exist for a package installed with ``pip install -e``.
    Without MMEngine nothing is patched: smallvit itself can still be imported and inspected.
    """
    if importlib.util.find_spec("mmengine") is None:
        return
    import mmengine.utils
    from mmengine.config import config
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.utils import package_utils

    MODULE2PACKAGE.setdefault("smallvit", "smallvit")
    # Each of these modules has its own reference to the functions. mmengine.hub takes them from
    # mmengine.utils when it is imported; importing it here would load torch.
    hub = sys.modules.get("mmengine.hub.hub")
    for module in filter(None, (config, package_utils, mmengine.utils, hub)):
        module.is_installed = is_installed
        module.get_installed_path = get_installed_path
    # For each base, MMEngine reads all metafiles of a package (one second for mmdet), searches
    # them for a name that they never contain, and then uses the path unchanged.
    config._get_external_cfg_path = config._get_external_cfg_base_path
    _keep_scope_of_own_configs(config.Config)


def _keep_scope_of_own_configs(config_class: type) -> None:
    """Build configs inherited from ``smallvit::`` in the scope of the library they are for.

    MMEngine marks the dicts of a foreign base with the base's scope. Our configs refer to
    types of MMPretrain, mmdet and mmseg without a prefix, in their default scope.
    """
    original = config_class._get_cfg_path
    if original.__module__ == __name__:
        return

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = original(cfg_path, filename)
        return path, None if scope == "smallvit" else scope

    config_class._get_cfg_path = staticmethod(get_cfg_path)


def is_installed(package: str) -> bool:
    """Check whether a distribution or module of that name is installed.

    Args:
        package (str): Name of a distribution (``mmsegmentation``) or a module.

    Returns:
        bool: True if it is installed or importable, also as a fork with another name.
    """
    return _module_spec(package) is not None


def get_installed_path(package: str) -> str:
    """Find the folder of the module that a distribution installs.

    Args:
        package (str): Name of a distribution or a module.

    Returns:
        str: The folder that holds the module's ``__init__.py``.

    Raises:
        ModuleNotFoundError: If neither a distribution nor a module has that name.
    """
    spec = _module_spec(package)
    if spec is None:
        way = how_to_install([package]) if _is_mm_package(package) else f"pip install {package}"
        raise ModuleNotFoundError(f"a config requires the package {package!r}: {way}")
    return osp.dirname(spec.origin)


def _is_mm_package(package: str) -> bool:
    from mmengine.config.utils import MODULE2PACKAGE

    return package.startswith("mm") and package in (*MODULE2PACKAGE, *MODULE2PACKAGE.values())


def _module_spec(package: str) -> ModuleSpec | None:
    for module in _candidate_modules(package):
        spec = importlib.util.find_spec(module)
        # A folder of that name without __init__.py is a namespace package, without configs.
        if spec is not None and spec.origin is not None:
            return spec
    return None


def _candidate_modules(package: str) -> list[str]:
    """Candidate module names of a package: its own, MMEngine's, and those it declares."""
    from mmengine.config.utils import MODULE2PACKAGE

    # MMEngine's names are those of the modules; onedl-mmsegmentation has mmsegmentation's.
    known = [module for module, name in MODULE2PACKAGE.items() if name == package]
    try:
        declared = metadata.distribution(package).read_text("top_level.txt") or ""
    except metadata.PackageNotFoundError:
        declared = ""
    return [package, *known, *declared.split()]
