"""Configs for class folders: one for each model family, which only require data_root."""

import re
import shutil
from copy import deepcopy

import cv2
import pytest
import torch

from config_helpers import CONFIGS, LEAVES, build, read_config, scope_of
from smallvit.analysis.fake_data import fake_batch
from smallvit.cli.config import finalize_config
from smallvit.datasets.digits import load_digit_images
from smallvit.engine.folder import fit_to_folder
from smallvit.errors import DataError, UserError
from smallvit.registry import DATASETS
from tool_helpers import load_tool, own_experiment, run_main

#: Configs that share a network with another one are built in test_every_config.py.
FAMILIES = [
    name
    for name in LEAVES
    if name.endswith("_folder.py")
    and "_dynamic" not in name
    and "-images" not in name
    # A config with a feature store needs one for its folder, which test_every_config.py creates.
    and not any(teacher in name for teacher in ("dinov2", "dinov3", "convnext"))
]
#: One config of each system; the others are tested with the exhaustive tests.
BUILT = ("dhvt-t", "dvt-t2t-12", "vit-t_shortcut", "dwnet-t", "deit-ti_guided")
SMALL = [name for name in LEAVES if name.endswith("small-images_folder.py")]
DHVT = "dhvt/dhvt-t_folder.py"
NAMES = ["eight", "one", "zero"]
DIGITS = {"eight": 8, "one": 1, "zero": 0}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three digits of each of three classes, as PNG files."""
    root = tmp_path_factory.mktemp("own") / "my images"
    pictures, labels = load_digit_images()
    for name, digit in DIGITS.items():
        (root / name).mkdir(parents=True)
        for number, picture in enumerate(pictures[labels == digit][:3]):
            assert cv2.imwrite(str(root / name / f"{number}.png"), picture)
    return root


def fitted(name, root, checkpoint=None):
    cfg = read_config(name)
    finalize_config(cfg, {"data_root": str(root)}, checkpoint)
    return cfg


def run(tool, *argv):
    """Run a tool without worker processes; overrides come last."""
    workers = [f"{part}_dataloader.num_workers=0" for part in ("train", "val", "test")]
    return run_main(load_tool(tool).main, *argv, *workers, own_experiment())


def test_there_is_one_of_each_family():
    assert {name.split("/")[0] for name in FAMILIES} == {
        *("dhvt", "dwnet", "dw_shortcut", "dvt", "locality_guidance")
    }


@pytest.mark.parametrize(
    "name",
    [
        name
        if name.split("/")[1].removesuffix("_folder.py") in BUILT
        else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in FAMILIES
    ],
)
def test_the_model_follows_the_folder(name, images, uninitialized):
    cfg = fitted(name, images)
    model = build(cfg)
    if "guidance" in cfg.model:
        model.guidance.teacher.loaded = True  # arbitrary weights
    batch = fake_batch(model, (224, 224), batch_size=2)
    with scope_of(cfg):
        data = model.data_preprocessor(batch, training=True)
    with torch.no_grad():
        loss = sum(value for key, value in model(**data, mode="loss").items() if "loss" in key)
        (first, _) = model(data["inputs"], data["data_samples"], mode="predict")
    assert torch.isfinite(loss)
    assert first.pred_score.shape == (3,)


def test_each_family_has_one_for_small_images():
    others = {re.sub("[_-]small-images", "", name) for name in SMALL}
    assert len(SMALL) == 7
    assert others < set(LEAVES)


@pytest.mark.parametrize("name", SMALL[:2])
def test_small_images_are_not_enlarged(name, images):
    cfg = fitted(name, images)
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
        assert dataset[0]["inputs"].shape == (3, 32, 32)


@pytest.mark.parametrize("name", FAMILIES)
def test_all_data_sets_follow_the_folder(name, images):
    cfg = fitted(name, images)
    loaders = [cfg[key] for key in cfg if key.endswith("_dataloader")]
    loaders += [hook.dataloader for hook in cfg.get("custom_hooks", ()) if "dataloader" in hook]
    sizes = {"train": 6, "val": 3, "test": 3}
    assert len(loaders) >= 3
    for loader in loaders:
        with scope_of(cfg):
            dataset = DATASETS.build(deepcopy(loader.dataset))
        assert len(dataset) == sizes[dataset.split]
        assert dataset.metainfo["classes"] == tuple(NAMES)


def test_top5_is_not_reported_for_three_classes(images, tmp_path):
    for evaluator in (fitted(name, images).test_evaluator for name in FAMILIES):
        metrics = evaluator if isinstance(evaluator, list) else [evaluator]
        assert metrics[0].topk == (1,)
    for number in range(6):
        shutil.copytree(images / "one", tmp_path / f"class {number}")
    cfg = fitted(DHVT, tmp_path)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 6
    assert cfg.val_evaluator.topk == (1, 5)


def test_other_configs_are_left_alone():
    for name in ("dhvt/dhvt-t_in1k.py", "dwnet/dwnet-mini_digits-det.py"):
        cfg = read_config(name)
        before = deepcopy(cfg.to_dict())
        fit_to_folder(cfg)
        assert cfg.to_dict() == before


def test_a_missing_folder_says_what_to_set(tmp_path, capfd):
    with pytest.raises(DataError, match=r"folder data/images does not exist\. Set data_root"):
        finalize_config(read_config(DHVT), None)
    work_dir = tmp_path / "work"
    status = run(
        "train.py", CONFIGS / DHVT, "--work-dir", work_dir, "--cfg-options", "data_root=no"
    )
    assert status == 1
    assert "folder no does not exist. Set data_root" in capfd.readouterr().err
    assert not work_dir.exists()


def test_annotation_lists_are_rejected():
    with pytest.raises(
        UserError, match=r"data_root to be a folder, got \['/my', 'images'\].*comma"
    ):
        finalize_config(read_config(DHVT), {"data_root": ["/my", "images"]})


def test_datasets_of_other_folders_are_not_changed(images):
    cfg = read_config(DHVT)
    finalize_config(cfg, {"data_root": str(images), "test_dataloader.dataset.data_root": "other"})
    assert cfg.test_dataloader.dataset.data_root == "other"
    assert cfg.val_dataloader.dataset.data_root == str(images)


def test_the_split_is_set_once(images):
    cfg = read_config("dvt/dvt-t2t-12_folder.py")
    options = {"data_root": str(images), "train_dataloader.dataset.held_out": 0.6}
    finalize_config(cfg, dict(options))
    calibration = cfg.calibration_dataloader
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader, calibration)
    assert [loader.dataset.held_out for loader in loaders] == [0.6] * 4
    with pytest.raises(UserError, match=r"held_out is 0\.3 and 0\.6 in the data loaders\. Set it"):
        finalize_config(cfg, {**options, "val_dataloader.dataset.held_out": 0.3})


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("trained")
    options = (f"data_root={images}", "train_cfg.max_epochs=1", "param_scheduler=None")
    argv = ("--work-dir", work_dir, "--cfg-options", *options)
    assert run("train.py", CONFIGS / DHVT, *argv) == 0
    return work_dir


def test_training_stores_the_classes(trained):
    checkpoint = torch.load(trained / "epoch_1.pth", weights_only=True)
    assert list(checkpoint["meta"]["dataset_meta"]["classes"]) == NAMES
    assert checkpoint["state_dict"]["head.fc.weight"].shape[0] == 3


@pytest.mark.parametrize("config", [CONFIGS / DHVT, "dumped"])
def test_the_checkpoint_decides_about_the_classes(config, images, trained, tmp_path, capfd):
    """Test images may lack a class, and the config dumped by the run still works."""
    config = trained / "dhvt-t_folder.py" if config == "dumped" else config
    for name in ("one", "zero"):
        shutil.copytree(images / name, tmp_path / "new" / "test" / name)
    argv = ("--work-dir", tmp_path / "work", "--cfg-options", f"data_root={tmp_path / 'new'}")
    capfd.readouterr()
    assert run("test.py", config, trained / "epoch_1.pth", *argv) == 0
    assert "has no images of eight" in "".join(capfd.readouterr())


def test_classes_missing_in_the_checkpoint_are_named(images, trained, tmp_path, capfd):
    shutil.copytree(images / "one", tmp_path / "new" / "test" / "two")
    argv = ("--work-dir", tmp_path / "work", "--cfg-options", f"data_root={tmp_path / 'new'}")
    assert run("test.py", CONFIGS / DHVT, trained / "epoch_1.pth", *argv) == 1
    message = capfd.readouterr().err
    assert "new/test/two: unknown class 'two'" in message


def test_inheriting_configs_can_set_data_root(images, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(f"_base_ = r'{CONFIGS / DHVT}'\ndata_root = r'{images}'\n")
    from smallvit.cli.config import load_config

    cfg = load_config(str(config))
    finalize_config(cfg, None)
    assert cfg.model.head.num_classes == 3
    assert cfg.train_dataloader.dataset.data_root == str(images)
