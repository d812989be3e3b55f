"""Training, prediction and dataset checks with images of more than four bands."""

import csv
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate

from config_helpers import scope_of
from smallvit.apis.graph_inputs import input_images
from smallvit.apis.training import Wishes, make_plan, write_config
from smallvit.apis.training.writing import settings_of
from smallvit.bench.looking import look
from smallvit.cli.main import main
from smallvit.cli.pretrain import main as pretrain
from smallvit.datasets.io.bands import Bands
from smallvit.datasets.recognition import recognize
from smallvit.datasets.recognition.survey import look_at, look_at_bands
from smallvit.engine.pipeline import resolve
from smallvit.errors import DataError, UserError
from smallvit.registry import DATASETS, MODELS
from tool_helpers import load_tool, own_experiment, run_main

CHANNELS = 6


def array(random, level):
    """An image of 16x16 reflectance values; only bands 4 and 5 depend on the class."""
    values = random.normal(0.2, 0.02, (16, 16, CHANNELS))
    values[..., 4:] += level
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("bands") / "fields", np.random.default_rng(0)
    for name, level in (("maize", 0.0), ("wheat", 0.5)):
        (root / name).mkdir(parents=True)
        for number in range(10):
            np.save(root / name / f"{number}.npy", array(random, level))
    return root


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*argv):
    return run_main(load_tool("train.py").main, *argv)


def planned(root, out, name="dhvt", bands=None, **wishes):
    bands = bands or Bands(CHANNELS)
    data = recognize(str(root), str(out), bands=bands)
    return make_plan(name, data, look_at_bands(data.training_images(), bands), Wishes(**wishes))


def test_train_test_and_predict(fields, work, capsys, monkeypatch):
    loaders = [f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test")]
    options = ["--cfg-options", *loaders, "val_dataloader.persistent_workers=False"]
    flags = ["--channels", 6, "--bands", 5, 0, 1, 2, 4, "--epochs", 1, "--batch-size", 4]
    flags += ["--image-size", 16, *options, own_experiment()]
    assert train("dhvt", "--data", fields, *flags) == 0
    shown = capsys.readouterr().out
    assert "5 bands of 6 (numbers 5, 0, 1, 2, 4): mean and standard deviation of 16 " in shown
    assert "left out (for 8-bit colors only): RandAugment" in shown
    (checkpoint,) = (work / "work_dirs/dhvt-t_fields").glob("best_*.pth")
    # The checkpoint stores bands and normalization, so that no further flags are needed.
    unseen = array(np.random.default_rng(1), 0.5)
    (work / "new").mkdir()
    np.save(work / "new/later.npy", unseen)
    np.save(work / "new/other_axis.npy", unseen.transpose(2, 0, 1))
    np.save(work / "new/five.npy", unseen[..., :5])
    (work / "new/photo.png").write_bytes(b"left out")
    monkeypatch.setattr(sys, "argv", ["smallvit"])
    assert run_main(main, "predict", checkpoint, "new", "--out", "found", "--device", "cpu") == 1
    captured = capsys.readouterr()
    assert "five.npy: expected 6 bands, got 5" in captured.err
    assert "photo" not in captured.err
    rows = {row["image"]: row for row in csv.DictReader((work / "found/predictions.csv").open())}
    assert set(rows) == {"later.npy"}  # same band axis as in the training images
    assert (work / "found/drawn/later.png").is_file() or list((work / "found/drawn").iterdir())
    from smallvit.apis import Predictor

    predictor = Predictor(checkpoint, device="cpu")
    found = predictor(unseen)
    assert found.name == rows["later.npy"]["class"]
    assert found.score == pytest.approx(float(rows["later.npy"]["score"]), abs=1e-4)
    with pytest.raises(DataError, match="expected 6 bands, got 3"):
        predictor(unseen[..., :3])
    with pytest.raises(UserError, match="with 6 bands, got int"):
        predictor.read(3)


def test_the_config_holds_what_was_measured(fields, work):
    plan = planned(fields, work, bands=Bands(CHANNELS, (5, 0)), image_size=96)
    cfg = Config.fromfile(write_config(plan, "out", "dhvt --data fields"))
    images = np.stack([np.load(path) for path in plan.data.training_images()])
    measured = images[..., [5, 0]].reshape(-1, 2).astype(float)
    assert cfg.data_preprocessor.mean == pytest.approx(measured.mean(0), rel=1e-5)
    assert cfg.data_preprocessor.std == pytest.approx(measured.std(0), rel=1e-5)
    assert cfg.data_preprocessor.to_rgb is False
    load = dict(type="smallvit.LoadImageBands", channels=6, bands=[5, 0], band_axis="last")
    for split in ("train", "val", "test"):
        steps = cfg[f"{split}_dataloader"].dataset.pipeline
        assert steps[0] == load
        assert not any("backend" in step for step in steps)
    names = [step["type"] for step in cfg.train_pipeline]
    assert "smallvit.RandAugment" not in names
    (erasing,) = (step for step in cfg.train_pipeline if "RandomErasing" in step["type"])
    assert erasing["mean"] == cfg.data_preprocessor.mean
    assert cfg.model.backbone.in_channels == 2


@pytest.mark.parametrize("name", ["dhvt", "timm:resnet10t"])
def test_a_batch_can_be_trained(name, fields, work):
    cfg = resolve(write_config(planned(fields, work, name, image_size=32), "out", "x"))
    cfg.train_dataloader.dataset.pipeline[-2]["erase_prob"] = 1.0
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
        batch = pseudo_collate([dataset[0], dataset[1]])
        data = model.data_preprocessor(batch, True)
        assert data["inputs"].shape[1] == CHANNELS
        assert data["inputs"].abs().mean() < 3
        assert model(**data, mode="loss")["loss"] > 0


def test_verify_lists_what_is_wrong(fields, work):
    tool = load_tool("misc/verify_dataset.py")
    root = work / "data"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            value = np.random.default_rng([number, ord(name)]).random((8, 9, CHANNELS))
            np.save(root / name / f"{number}.npy", value)
    argv = ("--folder", root, "--channels", CHANNELS, "--workers", 0)
    assert run_main(tool.main, *argv) == 0
    holes = np.load(root / "a/0.npy")
    holes[0, 0, 2] = np.nan
    np.save(root / "a/0.npy", holes)
    np.save(root / "a/1.npy", np.zeros((8, 9, 4)))
    np.save(root / "b/2.npy", np.array([None]), allow_pickle=True)
    (root / "b/3.npy").write_bytes((root / "b/3.npy").read_bytes()[:-9])
    (root / "b/photo.png").write_bytes(b"x")
    assert run_main(tool.main, *argv, "--json", "found.json") == 1
    data = json.loads((work / "found.json").read_text())["data"]
    found = {
        one["path"].rpartition("/")[2]: (one["kind"], one["reason"])
        for part in data.values()
        for one in part["findings"]
    }
    assert found["0.npy"][0] == "misread"
    assert "band 2 are NaN" in found["0.npy"][1]
    assert "expected 6 bands" in found["1.npy"][1]
    assert "pickled" in found["2.npy"][1]
    assert found["3.npy"][0] == "unreadable"
    assert found["photo.png"][0] == "left out"


@pytest.mark.parametrize(("method", "name"), [("masked", "deit"), ("views", "vit")])
def test_pretraining(method, name, fields, work, capsys):
    argv = [name, "--data", fields, "--channels", 6, "--method", method, "--work-dir", "out"]
    assert run_main(pretrain, *argv, "--epochs", 1, "--batch-size", 4, "--dry-run") == 0
    assert "20 of " in capsys.readouterr().out
    cfg = resolve("out/out.py")
    assert len(cfg.data_preprocessor.mean) == CHANNELS
    assert cfg.train_pipeline[0]["type"] == "smallvit.LoadImageBands"
    assert "ColorJitter" not in str(cfg.train_pipeline)
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
        batch = default_collate([dataset[0], dataset[1], dataset[2], dataset[3]])
        data = model.data_preprocessor(batch, True)
        first = data["inputs"][0] if method == "views" else data["inputs"]
        assert first.shape[:2] == (4, CHANNELS)
        assert first.abs().mean() < 3
        assert all(loss > 0 for loss in model(**data, mode="loss").values())


def test_masked_images_of_bands_are_refused_for_the_right_reason(fields, work, capsys):
    argv = ["vit", "--data", fields, "--channels", 6, "--work-dir", "out"]
    assert run_main(pretrain, *argv, "--batch-size", 4, "--dry-run") == 1
    error = capsys.readouterr().err
    assert "SimMIM requires three channels, got 6" in error
    assert "got 3 channels" not in error


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--bands", "1"], "--bands requires --channels"),
        (["--band-axis", "last"], "--band-axis requires --channels"),
        (["--channels", "6", "--bands", "6"], "bands 0 to 5"),
        (["--channels", "5"], "expected 5 bands"),
        (["--channels", "6", "--in-memory"], "--in-memory keeps images of 8-bit colors"),
        (["--channels", "6", "--data-layout", "coco"], "--channels supports class folders and"),
        ([], "read as bands: --channels N"),
    ],
)
def test_incompatible_flags_are_rejected(argv, text, fields, work, capsys):
    assert train("dhvt-t", "--data", fields, *argv) == 1
    assert text in capsys.readouterr().err


def test_configs_do_not_accept_band_flags(work, capsys):
    assert train("configs/x.py", "--channels", 6) == 1
    assert "--channels requires --data; for a config, use smallvit.Load" in capsys.readouterr().err


def test_weights_for_three_colors_are_refused(fields, work):
    colors = MODELS.build(dict(type="smallvit.DHVT", arch="tiny", img_size=16, patch_size=4))
    state = {f"backbone.{name}": value for name, value in colors.state_dict().items()}
    torch.save({"state_dict": state}, "colors.pth")
    for name, pretrained, text in (
        ("dhvt", "colors.pth", r"do not fit a network with 6 bands .*\(.*3, .*smallvit pretrain"),
        ("mmpretrain:resnet18_8xb32_in1k", "official", "require three channels.*timm:NAME"),
    ):
        with pytest.raises(UserError, match=text):
            settings_of(planned(fields, work, name, pretrained=pretrained, image_size=16), "out")


def test_a_bench_of_bands_is_refused(fields, work):
    names = [f"{path.parent.name}/{path.name}" for path in fields.glob("*/*.npy")]
    lines = [f"{fields}/{name},{name[:5]}" for name in names]
    (work / "labels.csv").write_text("\n".join(["file,label", *lines]))
    for data in (fields, work / "labels.csv"):
        with pytest.raises(UserError, match=r"arrays of bands .*smallvit train"):
            look(str(data), "prepared", None, print)


def test_each_fold_is_normalized_by_its_own_images(fields, work, capsys):
    flags = ["--channels", 6, "--folds", 2, "--image-size", 16, "--batch-size", 4]
    assert train("dhvt", "--data", fields, *flags, "--work-dir", "out", "--dry-run") == 0
    assert "6 bands" in capsys.readouterr().out
    for number in (1, 2):
        folder = work / f"out/fold_{number}"
        listed = (folder / "split/train.txt").read_text().split()
        pixels = np.stack([np.load(fields / name) for name in listed]).reshape(-1, CHANNELS)
        (config,) = folder.glob("*.py")
        mean = Config.fromfile(config).data_preprocessor.mean
        assert mean == pytest.approx(pixels.astype(float).mean(0), rel=1e-5)


def test_exported_graphs_are_not_compared_on_photographs():
    predictor = SimpleNamespace(steps=SimpleNamespace(bands=Bands(6)))
    with pytest.raises(UserError, match=r"expects 6 bands.*--images"):
        input_images(predictor, True)


def test_photographs_are_not_changed(fields, work):
    with pytest.raises(DataError, match=r"arrays are read as bands"):
        DATASETS.build(dict(type="smallvit.ClassFolders", data_root=str(fields)))
    (work / "x.tif").write_bytes(b"II*\x00")
    with pytest.raises(DataError, match="pass --channels N"):
        look_at([str(work / "x.tif")])
