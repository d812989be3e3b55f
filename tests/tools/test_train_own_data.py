"""``smallvit train MODEL --data PATH``: from a data folder to a trained config."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from config_helpers import scope_of
from data_builders import write_coco
from smallvit.apis.training import Wishes, estimate, make_plan
from smallvit.apis.training.config_text import Name, as_text
from smallvit.apis.training.estimate import Estimate, free_memory
from smallvit.apis.training.models import choose_model, trainable
from smallvit.apis.training.plan import default_epochs
from smallvit.apis.training.writing import settings_of, write_config
from smallvit.datasets.in_memory.settings import outside_memory
from smallvit.datasets.recognition import recognize
from smallvit.datasets.recognition.survey import Survey, look_at
from smallvit.engine.pipeline import resolve
from smallvit.errors import UserError
from smallvit.registry import DATASETS, MODELS
from tool_helpers import load_tool, own_experiment, run_main, write_pictures

FORMS = ("folder", "custom-coco", "custom-boxes", "custom-masks")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "my pictures"
    write_pictures(root)
    (root / "train").rename(root.parent / "flat")
    return root.parent / "flat"


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    root = tmp_path_factory.mktemp("objects")
    write_coco(root, images=5, name="all")
    return root


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    root = tmp_path_factory.mktemp("maps")
    for split in ("train", "val"):
        for folder, number in (("images", 3), ("annotations", 1)):
            (root / folder / split).mkdir(parents=True)
            for name in "abc":
                shape = (64, 96, 3) if number == 3 else (64, 96)
                pixels = np.resize(np.array([0, 1, 2, 100], np.uint8), shape)
                ending = "jpg" if number == 3 else "png"
                assert cv2.imwrite(str(root / folder / split / f"{name}.{ending}"), pixels)
    return root


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*argv):
    return run_main(load_tool("train.py").main, *argv)


def planned(root, out, model="pvtv2-b0", survey=None, **wishes):
    data = recognize(str(root), str(out))
    return make_plan(model, data, survey or look_at(data.sample), Wishes(**wishes))


def test_one_command_trains_and_writes_the_config(pictures, work, capsys):
    options = [f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test")]
    flags = ["--epochs", "1", "--batch-size", "4", "--image-size", "16", "--seed", "3"]
    argv = ["dhvt", "--data", pictures, *flags, "--cfg-options", *options, own_experiment()]
    assert train(*argv) == 0
    shown = capsys.readouterr().out
    assert "recognized: class folders: classification" in shown
    before = shown[: shown.index("Epoch(train)")]
    assert len(before.splitlines()) < 40
    (log,) = (work / "work_dirs/dhvt-t_flat").glob("*/*.log")
    assert "paramwise_options" in log.read_text()
    path = work / "work_dirs/dhvt-t_flat/dhvt-t_flat.py"
    text = path.read_text()
    assert '_base_ = "smallvit::dhvt/dhvt-t_small-images_folder.py"' in text
    cfg = Config.fromfile(path)
    assert cfg.randomness.seed == 3
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2.5e-4 * 4 / 64, rel=1e-3)
    assert cfg.auto_scale_lr.base_batch_size == 4
    assert cfg.train_dataloader.dataset.pipeline[2]["crop_size"] == 16
    # An edited config is not overwritten, and it can be used for training directly.
    path.write_text(text.replace("max_epochs=1", "max_epochs=2"))
    assert train(*argv) == 1
    assert "was edited" in capsys.readouterr().err
    assert resolve(str(path)).train_cfg.max_epochs == 2


def table_of(pictures, work, several):
    names = sorted(str(path) for path in pictures.rglob("*.png"))
    rows = [f"{name},{'odd;all' if several and n % 2 else 'all'}" for n, name in enumerate(names)]
    if not several:
        rows = [f"{name},{'odd' if n % 2 else 'even'}" for n, name in enumerate(names)]
    (work / "labels.csv").write_text("\n".join(["file,label", *rows]))
    return work / "labels.csv"


@pytest.mark.parametrize("several", [False, True])
def test_a_table_of_labels(pictures, work, several):
    plan = planned(table_of(pictures, work, several), work, "dhvt")
    cfg = resolve(write_config(plan, "out", "dhvt --data labels.csv"))
    assert cfg.train_dataloader.dataset.type == "smallvit.LabelTable"
    assert (cfg.model.head.num_classes, cfg.data_preprocessor.num_classes) == (2, 2)
    assert cfg.get("fit_to_folder") is None
    metrics = ["AveragePrecision", "MultiLabelMetric", "smallvit.LabelThresholds"]
    evaluators = cfg.val_evaluator if several else [cfg.val_evaluator]
    assert [each["type"] for each in evaluators] == (metrics if several else ["Accuracy"])
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
        batch = pseudo_collate([dataset[0], dataset[1]])
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
    assert losses["loss"] > 0
    with pytest.raises(UserError, match=r"is a table\. Remove it"):
        planned(plan.data.table, work, "dhvt", in_memory=True, image_size=16)


def test_a_cascade_gives_an_image_one_label(pictures, work):
    with pytest.raises(UserError, match="MultiExitHead does not support several labels"):
        settings_of(planned(table_of(pictures, work, True), work, "dvt"), "out")


def test_a_dry_run_takes_class_weights(pictures, work, capsys):
    flags = ["--work-dir", "out", "--dry-run", "--batch-size", "4", "--cfg-options"]
    option = "model.head.loss.class_weight"
    assert train("dhvt", "--data", pictures, *flags, f"{option}=balanced") == 0
    assert train("dhvt", "--data", pictures, *flags, f"{option}=[1,2,3,4,5]") == 1
    assert "one per class" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("source", "name"), [("objects", "custom-coco"), ("maps", "custom-masks")])
def test_a_dry_run_prints_the_plan(source, name, work, capsys, request):
    root = request.getfixturevalue(source)
    flags = ["--work-dir", "out", "--dry-run", "--batch-size", "auto"]
    assert train("pvtv2", "--data", root, *flags) == 0
    shown = capsys.readouterr().out
    assert "paramwise_options" not in shown
    for part in ("parameters:", "GFLOPs", "memory:", "time:", "dry run", name):
        assert part in shown
    assert not list(Path("out").glob("*/*.log"))
    # A batch norm after pooling cannot compute statistics of one image.
    batch = Config.fromfile("out/out.py").train_dataloader.batch_size
    assert batch == (1 if source == "objects" else 2)


def test_the_largest_batch_fits_into_the_memory(monkeypatch):
    found = Estimate(1, 1, (8, 8), seconds=1.0, fixed=200, per_image=100, device="cpu")
    monkeypatch.setattr(estimate, "free_memory", lambda: 10_000)
    assert estimate.largest_batch(found, images=10_000) == 64  # 200 + 64 * 100 of 7,000
    assert estimate.largest_batch(found, images=100) == 8  # so that an epoch has several steps
    assert estimate.largest_batch(found, images=5, least=2) == 2
    monkeypatch.setattr(estimate, "free_memory", lambda: 10**9)
    assert estimate.largest_batch(found, images=10**6) == estimate.LARGEST
    assert 1 << 20 < free_memory() < 1 << 50


def test_objects_and_label_maps(objects, maps, work):
    # Batches of three leave one of four images: aspect ratio batches do not support drop_last.
    plan = planned(objects, work, epochs=3, batch_size=3)
    assert "drop_last" not in settings_of(plan, "out")["train_dataloader"]
    path = write_config(plan, "out", "pvtv2-b0 --data x")
    cfg = resolve(path)
    assert cfg.model.roi_head.mask_head.num_classes == 2
    assert cfg.val_evaluator.ann_file == str(work / "data/val.json")
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (64, 64)
    path = write_config(planned(maps, work / "2"), "out2", "x")
    cfg = resolve(path)
    assert cfg.model.decode_head.num_classes == 4
    assert cfg.train_dataloader.dataset.pipeline[1].label_map == {100: 3}


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("source", ["pictures", "maps"])
def test_channels_of_the_images(source, channels, work, request):
    survey = Survey(channels, 16, 16, "so many channels")
    plan = planned(request.getfixturevalue(source), work, survey=survey)
    cfg = resolve(write_config(plan, "out", "x"))
    backbone = cfg.model.backbone
    assert backbone.in_channels == channels
    owner = cfg if source == "pictures" else cfg.model
    assert len(owner.data_preprocessor.mean) == channels
    kind = "grayscale" if channels == 1 else "unchanged"
    assert cfg.val_dataloader.dataset.pipeline[0].color_type == kind
    with scope_of(cfg):  # every training transform gets this number of channels
        Compose(cfg.train_dataloader.dataset.pipeline)
    assert "PhotoMetricDistortion" not in str(cfg.train_dataloader)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_of_objects(channels, objects, work):
    survey = Survey(channels, 64, 64, "so many channels")
    cfg = resolve(write_config(planned(objects, work, survey=survey), "out", "x"))
    count = 1 if channels == 1 else 3  # channels that MMDetection normalizes
    assert cfg.model.backbone.get("in_channels", 3) == count
    with scope_of(cfg):
        MODELS.build({"type": "DetDataPreprocessor", **cfg.model.data_preprocessor})
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset[0]["inputs"].shape[0] == count


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_images_are_scaled_to_8_bits(channels, work):
    shape = (32, 32, channels) if channels > 1 else (32, 32)
    pixels = np.full(shape, 3000, np.uint16)
    for name in ("a", "b"):
        Path("deep", name).mkdir(parents=True)
        for number in range(5):
            assert cv2.imwrite(f"deep/{name}/{number}.png", pixels)
    cfg = resolve(write_config(planned("deep", work), "out", "x"))
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
    image = dataset[0]["inputs"]
    assert image.shape == (1 if channels == 1 else 3, 32, 32)
    assert cfg.model.backbone.get("in_channels", 3) == image.shape[0]
    # For 12 bits, 3000 becomes 187; as an alpha channel, it would blend white into the image.
    assert image.min() > 180
    assert image.float().std() < 3


@pytest.mark.parametrize("form", FORMS)
def test_every_short_name_has_a_config(form):
    names = trainable(form)
    assert {"dhvt-t", "dwnet-t", "pvtv2-b0"} <= set(names)
    for name in names:
        assert choose_model(name, form, 224).base.endswith(f"{name}_{form}.py")
    assert "small-images" in choose_model("dwnet-t_dynamic", "folder", 32).base


def test_other_models():
    assert choose_model("timm:resnet18", "folder", 224).model["head"]["in_channels"] == 512
    neck = choose_model("timm:resnet18", "custom-boxes", 224).changes["neck"]
    assert neck == {"in_channels": [64, 128, 256, 512]}
    ours = choose_model("dhvt-s_coco", "custom-boxes", 224)
    assert ours.model["type"] == "FasterRCNN"
    assert ours.model["roi_head"]["mask_head"] is None
    assert "train_cfg" not in choose_model("dhvt-s_in1k", "folder", 224).model


@pytest.mark.parametrize(
    ("name", "form", "text"),
    [
        ("dhvd-t", "folder", "Did you mean dhvt-t"),
        ("dvt", "custom-coco", "only for folder"),
        ("dhvt-t_in1k", "custom-masks", "is a model for classification"),
        ("deit-ti_guided_cifar100", "folder", "requires a teacher"),
        ("timm:resnet19", "folder", "no model 'resnet19'"),
        ("timm:vit_tiny_patch16_224", "custom-coco", "strides"),
        ("mmpretrain:resnet18_8xb32_in1k", "custom-coco", "classifiers"),
    ],
)
def test_unsupported_models_are_rejected(name, form, text):
    with pytest.raises(UserError, match=text):
        choose_model(name, form, 224)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["dhvt-t", "--data", "{}", "--freeze"], "random"),
        (["dhvt-t", "--data", "{}", "--pretrained"], "no weights of"),
        (["x.py", "--data", "{}"], "requires a model name"),
        (["dhvt-t"], "--data PATH"),
        (["configs/x.py", "--epochs", "3"], "--epochs requires --data"),
        (["dhvt-t", "--data", "{}", "--void-id", "3"], "label maps"),
        (["dhvt-t", "--data", "{}", "--launcher", "pytorch"], "single process"),
        (["dhvt-t", "--data", "{}", "--device", "tpu"], "cpu, cuda"),
        (["dhvt-t", "--data", "nowhere"], "no such file or folder"),
        (["dhvt-t", "--data", "{}", "--in-memory", "--image-size", "96"], "up to 64 pixels"),
        (["configs/x.py", "--in-memory"], "--in-memory requires --data"),
    ],
)
def test_incompatible_flags_are_rejected(argv, text, pictures, work, capsys):
    assert train(*(one.format(pictures) for one in argv)) == 1
    assert text in capsys.readouterr().err


def test_small_datasets_are_trained_for_more_epochs():
    assert default_epochs("folder", 4000) == 100
    assert default_epochs("folder", 1000) == 200
    assert default_epochs("folder", 10**7) == 30
    assert default_epochs("custom-coco", 4) == 150


def test_small_images_in_memory(pictures, work, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(work))
    plan = planned(pictures, work, "dhvt-t", image_size=32, in_memory=True)
    cfg = resolve(write_config(plan, "out", "x"))
    plain = resolve(write_config(replace(plan, wishes=Wishes(image_size=32)), "other", "x"))
    assert cfg.data_preprocessor.type == "smallvit.AugmentingPreprocessor"
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        assert loader.collate_fn.type == "smallvit.collate_in_memory"
        assert outside_memory(loader.dataset) == plain[f"{split}_dataloader"].dataset
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset.load_batch([0, 1]).images.changed().shape == (2, 3, 32, 32)


def test_frozen_backbones_are_written_to_the_config(pictures, work):
    plan = planned(pictures, work, "dhvt-t", freeze=True, pretrained="weights.pth")
    settings = settings_of(plan, "out")
    assert settings["custom_hooks"] == [dict(type="smallvit.FreezeHook", modules=["backbone"])]
    init_cfg = settings["model"]["backbone"]["init_cfg"]
    assert init_cfg == dict(type="Pretrained", checkpoint="weights.pth", prefix="backbone.")


def test_a_cascade_is_calibrated_on_training_images(pictures, work):
    cfg = resolve(write_config(planned(pictures, work, "dvt", image_size=224), "out", "x"))
    listed = cfg.train_dataloader.dataset.listed
    assert listed.endswith("split/train.txt")
    assert cfg.calibration_dataloader.dataset.listed == listed


def test_values_are_written_readably():
    assert as_text("a", {"b": (1,), "c": Name("d"), "e": 'f"'}) == "a = dict(b=(1,), c=d, e='f\"')"
    long = as_text("model", {"key": ["x" * 60, "y" * 60], "label_map": {1: 255}})
    assert long.splitlines()[0] == "model = dict("
    scope: dict = {}
    exec(long, scope)
    assert scope["model"] == {"key": ["x" * 60, "y" * 60], "label_map": {1: 255}}
    assert max(map(len, long.splitlines())) <= 100
