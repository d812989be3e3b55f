"""Config inheritance across packages, with and without ``pkg_resources``."""

import os.path as osp

import pytest
from mmengine.config import Config

from smallvit.compat import config_lookup


@pytest.mark.parametrize("package", ["mmsegmentation", "mmdet", "smallvit"])
def test_paths_of_distributions(package):
    assert config_lookup.is_installed(package)
    assert osp.isfile(osp.join(config_lookup.get_installed_path(package), "__init__.py"))


def test_an_unknown_package_is_named():
    assert not config_lookup.is_installed("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        config_lookup.get_installed_path("no_such_package")


@pytest.mark.parametrize("base", ["mmdet::_base_/models/mask-rcnn_r50_fpn.py"])
def test_inheritance_without_pkg_resources(base, tmp_path, monkeypatch):
    monkeypatch.setattr(config_lookup.importlib.util, "find_spec", _without_pkg_resources)
    for name in ("is_installed", "get_installed_path"):
        original = getattr(config_lookup.mmengine_config, name)
        monkeypatch.setattr(config_lookup.mmengine_config, name, original)
    config_lookup.install()
    assert config_lookup.mmengine_config.is_installed is config_lookup.is_installed
    config = tmp_path / "child.py"
    config.write_text(f"_base_ = {base!r}")
    assert Config.fromfile(config).model.type == "MaskRCNN"


_find_spec = config_lookup.importlib.util.find_spec


def _without_pkg_resources(name, *args):
    return None if name == "pkg_resources" else _find_spec(name, *args)
