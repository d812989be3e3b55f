"""Config inheritance across packages, with and without ``pkg_resources``."""

import os.path as osp

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import fresh
from smallvit.compat import config_lookup


@pytest.mark.parametrize("package", ["mmsegmentation", "mmdet", "smallvit"])
def test_paths_of_distributions(package):
    assert config_lookup.is_installed(package)
    assert osp.isfile(osp.join(config_lookup.get_installed_path(package), "__init__.py"))


def test_an_unknown_package_is_named():
    assert not config_lookup.is_installed("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        config_lookup.get_installed_path("no_such_package")


def test_inheritance_and_hub_without_pkg_resources(tmp_path):
    child = tmp_path / "child.py"
    child.write_text("_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'")
    code = f"""
        import sys
        sys.modules["pkg_resources"] = None  # as with setuptools 82: importing it fails
        import smallvit
        from mmengine.config import Config
        from mmengine.hub import get_config
        assert Config.fromfile({str(child)!r}).model.type == "MaskRCNN"
        assert get_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py").model.type == "MaskRCNN"
    """
    fresh.run(code).check_returncode()


@pytest.mark.parametrize("name", ["dwnet-mini_digits", "dwnet-mini_digits-det"])
def test_a_foreign_config_inherits_ours_and_builds(name, tmp_path):
    child = tmp_path / "child.py"
    child.write_text(f"_base_ = 'smallvit::dwnet/{name}.py'")
    cfg = Config.fromfile(child)
    assert cfg.model.get("_scope_") != "smallvit"
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == "DWNet"


def test_our_detection_recipe_by_its_name(tmp_path):
    child = tmp_path / "child.py"
    child.write_text("_base_ = 'smallvit::dwnet/dwnet-t_coco.py'")
    assert Config.fromfile(child).model.backbone.type == "smallvit.DWNet"
