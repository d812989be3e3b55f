"""Error messages for misspelled names and missing data."""

import json

import pytest
from mmengine.registry import DATASETS, MODELS

from config_helpers import build, read_config, scope_of, use_mini
from smallvit.errors import DataError


def test_misspelt_arch_is_named_with_the_choices():
    cfg = read_config("dwnet/dwnet-t_coco.py")
    cfg.model.backbone.arch = "tinny"
    with pytest.raises(ValueError, match="tinny") as caught:
        build(cfg)
    assert all(name in str(caught.value) for name in ("mini", "tiny", "base"))


def test_misspelt_conv_is_named_with_the_choices():
    with pytest.raises(ValueError, match=r"static.*dynamic.*inhomogeneous.*'dynamical'"):
        MODELS.build(dict(type="smallvit.DWNet", arch="mini", conv="dynamical"))


@pytest.mark.parametrize("name", ["smallvit.DWNett", "smallvit.plugins.Shortcut", "DWNet"])
@pytest.mark.parametrize("scope", ["mmpretrain", "mmdet", "mmseg"])
def test_unknown_type_is_named(name, scope):
    with scope_of(scope), pytest.raises(KeyError, match=name.rpartition(".")[2]):
        MODELS.build(dict(type=name))


def _coco_loader(root):
    from mmengine.runner import Runner

    cfg = read_config("dwnet/dwnet-t_coco.py")
    loader = cfg.train_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.data_root = str(root)
    with scope_of(cfg):
        return Runner.build_dataloader(loader)


def test_missing_data_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _coco_loader(tmp_path / "nowhere")


def _explanation(error: BaseException) -> str:
    from smallvit.explain import explain

    message = explain(error, read_config("dwnet/dwnet-t_coco.py"))
    assert message is not None
    return message


def test_annotation_file_without_categories_is_named(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    path = folder / "instances_train2017.json"
    path.write_text(json.dumps(dict(images=[], annotations=[])))
    # The dataset class is ours once a smallvit run has been prepared in this process.
    with pytest.raises((KeyError, DataError), match="categories") as caught:
        _coco_loader(tmp_path)
    assert str(path) in _explanation(caught.value)
    assert "categories" in _explanation(caught.value)


def test_heads_that_do_not_fit_the_backbone_fail_with_the_widths():
    import torch

    cfg = use_mini(read_config("dwnet/dwnet-t_ade20k.py"))
    cfg.model.decode_head.in_channels = [96, 192, 384, 768]
    with pytest.raises(RuntimeError, match=r"768.*256|expected input.*channels"):
        build(cfg)(torch.zeros(1, 3, 64, 64), mode="tensor")


@pytest.mark.parametrize("there", [True, False])
def test_an_archive_with_a_wrong_checksum_is_named(tmp_path, monkeypatch, there):
    import urllib.request
    from urllib.error import URLError

    from smallvit.explain import explain

    def no_network(request):
        raise URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    archive = tmp_path / "cifar-100-python.tar.gz"
    if there:
        archive.write_bytes(b"cut off")
    cfg = read_config("locality_guidance/deit-ti_cifar100.py")
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    with scope_of(cfg), pytest.raises(URLError) as caught:
        DATASETS.build(cfg.train_dataloader.dataset)
    message = explain(caught.value, cfg)
    assert (
        f"{archive} {'has a wrong checksum' if there else 'is missing'} (expected MD5 eb9058c3"
        in message
    )
    assert "config key train_dataloader.dataset.data_root" in message
    assert "Name or service not known" in message
    assert "Put the archive there" in message
