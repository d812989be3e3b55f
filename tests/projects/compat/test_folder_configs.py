"""Configs with ``fit_to_folder`` adapt to their folder; other configs do not change."""

import cv2
import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import fresh
from smallvit.engine import folder
from smallvit.errors import SmallvitError

HEAD = dict(type="LinearClsHead", num_classes=1000, in_channels=8)
BACKBONE = dict(
    type="smallvit.DHVT",
    arch=dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8),
    img_size=16,
    patch_size=4,
)


def loader(root, split):
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    dataset = dict(type="smallvit.ClassFolders", data_root=root, split=split, pipeline=pipeline)
    sampler = dict(type="DefaultSampler", shuffle=False)
    return dict(batch_size=2, num_workers=0, dataset=dataset, sampler=sampler)


@pytest.fixture
def images(tmp_path):
    for name in ("cat", "dog", "owl"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            image = np.full((16, 16, 3), 80 * number, np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{number}.png"), image)
    return tmp_path / "images"


@pytest.fixture
def cfg(tmp_path):
    return Config(
        dict(
            default_scope="mmpretrain",
            data_root="no/such/folder",
            fit_to_folder=dict(data_root="no/such/folder"),
            model=dict(type="ImageClassifier", backbone=BACKBONE, head=HEAD),
            train_dataloader=loader("no/such/folder", "train"),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            test_dataloader=loader("no/such/folder", "test"),
            test_evaluator=dict(type="Accuracy", topk=(1, 5)),
            test_cfg=dict(),
            work_dir=str(tmp_path / "work"),
            experiment_name=tmp_path.name,
        )
    )


@pytest.fixture
def weights(tmp_path, cfg):
    """Weights of a classifier with two classes and their names."""
    model = dict(cfg.model, head=dict(HEAD, num_classes=2))
    state = mmpretrain.get_model(Config(dict(model=model))).state_dict()
    meta = {"dataset_meta": {"classes": ["one", "two"]}}
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


@pytest.mark.parametrize("build", [Runner.from_cfg, RUNNERS.build], ids=["from_cfg", "registry"])
def test_a_runner_follows_the_folder(cfg, images, build):
    cfg.data_root = str(images)
    runner = build(cfg)
    assert runner.model.head.num_classes == 3
    data = runner.build_dataloader(runner._train_dataloader).dataset
    assert data.metainfo["classes"] == (
        "cat",
        "dog",
        "owl",
    )
    assert runner.cfg.test_evaluator.topk == (1,)
    assert cfg.model.head.num_classes == 1000  # the config of the caller is not modified


@pytest.mark.parametrize(
    ("preprocessor", "expected"),
    [
        (dict(type="SelfSupDataPreprocessor", num_classes=1000), None),
        (dict(num_classes=1000), None),
        (dict(type="mmpretrain.TwoNormDataPreprocessor"), None),
        (dict(type="ClsDataPreprocessor"), 3),
        (dict(type="MyPreprocessor"), None),
        (dict(type="MyPreprocessor", num_classes=1000), 3),
    ],
)
def test_only_a_classifier_s_images_have_a_number_of_classes(cfg, images, preprocessor, expected):
    """``num_classes=1000`` may be inherited, but the preprocessor of SimCLR does not accept it."""
    cfg.data_root = str(images)
    cfg.data_preprocessor = preprocessor
    cfg.model.head = dict(type="ContrastiveHead", loss=dict(type="CrossEntropyLoss"))
    folder.fit_to_folder(cfg)
    assert cfg.data_preprocessor.get("num_classes") == expected
    cfg.model.head = dict(HEAD)
    cfg.data_preprocessor = dict(mean=[0.0])
    folder.fit_to_folder(cfg)
    assert cfg.data_preprocessor.num_classes == 3


def test_a_runner_without_its_folder_says_what_to_set(cfg):
    with pytest.raises(
        SmallvitError, match=r"folder no/such/folder does not exist\. Set data_root"
    ):
        Runner.from_cfg(cfg)


def test_a_test_takes_the_classes_of_its_weights(cfg, weights):
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = None
    cfg.load_from = weights
    assert Runner.from_cfg(cfg).model.head.num_classes == 2


def test_classes_of_a_checkpoint_are_kept(cfg, images, weights):
    """``tools/test.py`` adapts its config before building the runner."""
    cfg.data_root = str(images)
    folder.fit_to_folder(cfg, weights)
    assert folder.follow_folder(cfg).model.head.num_classes == 2
    cfg.data_root = f"{images}/"
    assert folder.follow_folder(cfg).model.head.num_classes == 3


def test_get_model_takes_the_classes_of_its_weights(cfg, images, weights, tmp_path):
    cfg.dump(str(tmp_path / "config.py"))
    for config in (cfg, str(tmp_path / "config.py")):
        model = mmpretrain.get_model(config, pretrained=weights)
        assert model.head.num_classes == 2
        assert model._dataset_meta["classes"] == ["one", "two"]
    cfg.load_from = weights
    assert mmpretrain.get_model(cfg, True).head.num_classes == 2
    cfg.data_root = str(images)
    assert mmpretrain.get_model(cfg).head.num_classes == 3


def test_get_model_without_folder_and_weights_warns(cfg, monkeypatch):
    said = []
    monkeypatch.setattr(folder, "print_log", lambda message, *_: said.append(message))
    assert mmpretrain.get_model(cfg).head.num_classes == 1000
    assert "using the classes of the config: folder no/such/folder does not exist" in said[0]


def test_foreign_configs_are_not_touched(cfg, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("fitted")

    monkeypatch.setattr(folder, "follow_folder", refuse)
    monkeypatch.setattr(folder, "fit_to_folder", refuse)
    cfg.pop("fit_to_folder")
    before = cfg.pretty_text
    assert mmpretrain.get_model(cfg).head.num_classes == 1000
    assert Runner.from_cfg(cfg).model.head.num_classes == 1000
    assert cfg.pretty_text == before


def test_the_order_of_imports_does_not_matter():
    code = """
        from mmpretrain import get_model
        import mmpretrain, sys
        assert not hasattr(get_model, "__wrapped__")
        import smallvit
        from mmengine.runner import FlexibleRunner, Runner
        patched = [get_model, mmpretrain.get_model, mmpretrain.apis.base.get_model]
        for each in [*patched, Runner.from_cfg.__func__, FlexibleRunner.from_cfg.__func__]:
            assert each.__module__.startswith(("mmengine", "mmpretrain"))
            assert hasattr(each, "__wrapped__") and not hasattr(each.__wrapped__, "__wrapped__")
    """
    fresh.run(code).check_returncode()
