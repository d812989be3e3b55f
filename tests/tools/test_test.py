import json
import shutil

import pytest
from mmengine.config import Config

from smallvit.engine.predictions import read_predictions
from tool_helpers import load_tool, own_experiment, run_main, write_tiny_config

train = load_tool("train.py")
test = load_tool("test.py")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def checkpoint(tiny, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("trained")
    argv = (tiny, "--work-dir", work_dir, "--no-validate", "--cfg-options", own_experiment())
    assert run_main(train.main, *argv) == 0
    return work_dir / "epoch_2.pth"


@pytest.fixture
def run(tiny, checkpoint, tmp_path):
    def go(*argv, path=checkpoint, config=tiny):
        argv = [*argv] if "--cfg-options" in argv else [*argv, "--cfg-options"]
        work_dir = ("--work-dir", tmp_path / "work")
        return run_main(test.main, config, path, *work_dir, *argv, own_experiment())

    return go


def metric(path) -> float:
    return json.loads(path.read_text())["accuracy/top1"]


def test_metrics_predictions_and_pictures(run, tiny, tmp_path):
    flips = tmp_path / "flips.py"
    flips.write_text(
        f"_base_ = r'{tiny}'\n"
        "steps = [dict(type=name) for name in ('LoadImageFromFile', 'RandomFlip', 'PackInputs')]\n"
        "train_dataloader = dict(dataset=dict(pipeline=steps))\n"
    )
    files = [tmp_path / "out" / name for name in ("a.json", "b.json", "c.json")]
    assert run("--out", files[0], "--out-item", "metrics", "--show-dir", tmp_path / "show") == 0
    assert run("--out", files[1], "--out-item", "metrics", "--amp") == 0
    assert run("--out", files[2], "--tta", config=flips) == 0
    # Noise at two brightness levels is easy to classify on any machine.
    assert metric(files[0]) == metric(files[1]) == 100.0
    predictions = read_predictions(files[2])
    assert len(predictions) == 10
    assert all(each["pred_label"] == each["gt_label"] for each in predictions)
    assert predictions[0]["img_path"].endswith(".png")
    assert len(list((tmp_path / "show").rglob("*.png"))) > 0


def test_another_architecture_is_refused(run, checkpoint, tmp_path, capfd):
    options = ("--cfg-options", "model.backbone.base_channels=16", "model.head.in_channels=128")
    assert run(*options) == 1
    message = capfd.readouterr().err
    assert f"{checkpoint} does not match the model" in message
    assert "backbone.layer1.0.downsample.0.weight" in message
    assert "size mismatch for backbone.layer1.0.conv1.weight" in message
    assert len(message.splitlines()) < 15
    (log,) = (tmp_path / "work").rglob("*.log")
    assert f"{checkpoint} does not match the model" in log.read_text()


def test_unused_weights_are_refused_unless_allowed(run, capfd):
    assert run("--cfg-options", "model.backbone.norm_cfg.affine=False") == 1
    assert "unexpected in the file: backbone.bn1.weight" in capfd.readouterr().err
    allowed = ("--allow-mismatch", "--cfg-options", "model.backbone.norm_cfg.affine=False")
    assert run(*allowed) == 0


def test_missing_and_damaged_checkpoints(run, tiny, checkpoint, tmp_path, capfd):
    assert run(path=checkpoint.with_name("epoch_9.pth")) == 1
    assert "epoch_9.pth; that folder has epoch_1.pth, epoch_2.pth" in capfd.readouterr().err
    half = tmp_path / "half.pth"
    half.write_bytes(checkpoint.read_bytes()[:5000])
    for path in (half, tiny):
        assert run(path=path) == 1
        message = capfd.readouterr().err
        assert str(path) in message
        assert "damaged" in message
        assert "Traceback" not in message


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_image_is_named(run, tiny, tmp_path, capfd, workers):
    data = tmp_path / "data"
    shutil.copytree(tiny.parent / "data", data)
    image = data / "test/dark/3.png"
    image.write_bytes(image.read_bytes()[:300])
    options = (
        f"test_dataloader.dataset.data_root={data}",
        f"test_dataloader.num_workers={workers}",
    )
    assert run("--cfg-options", *options) == 1
    message = capfd.readouterr().err
    assert f"{image}: truncated PNG" in message
    assert "Traceback" not in message
    (log,) = (tmp_path / "work").rglob("*.log")
    assert f"{image}: truncated PNG" in log.read_text()


def test_usage_errors(tiny, capsys):
    for argv, message in [
        (["--out-item", "pred"], "--out-item requires --out"),
        (["--out", "x.yaml"], "must be .json, .npz, .pkl, .pickle"),
        (["--out", "x.npz", "--out-item", "metrics"], "must be .json, .yaml, .pkl"),
    ]:
        assert run_main(test.main, tiny, "x.pth", *argv) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "visualization", "expected"),
    [
        ("mmdet", "DetVisualizationHook", {"draw": True, "test_out_dir": "here"}),
        ("mmseg", "SegVisualizationHook", {"draw": True, "interval": 3}),
        ("mmpretrain", "VisualizationHook", {"enable": True, "out_dir": "here", "interval": 3}),
    ],
)
def test_drawing_supports_each_library(library, visualization, expected):
    from smallvit.cli.testing import enable_drawing

    cfg = Config(
        dict(
            default_scope=library,
            default_hooks=dict(visualization=dict(type=visualization)),
            visualizer=dict(type="Visualizer"),
        )
    )
    args = test.parse_args(["c.py", "x.pth", "--show-dir", "here", "--interval", "3"])
    enable_drawing(cfg, args)
    hook = cfg.default_hooks.visualization
    assert {key: hook[key] for key in expected} == expected
    assert (cfg.visualizer.get("save_dir") == "here") == (library == "mmseg")


def test_drawing_needs_the_hook():
    from smallvit.cli import UserError
    from smallvit.cli.testing import enable_drawing

    args = test.parse_args(["c.py", "x.pth", "--show-dir", "here"])
    with pytest.raises(UserError, match=r"default_hooks\.visualization"):
        enable_drawing(Config(dict(default_scope="mmdet")), args)


def test_tta_of_a_detector_flips_and_packs():
    from smallvit.cli.testing import enable_tta

    pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize"), dict(type="PackDetInputs")]
    dataset = dict(type="RepeatDataset", dataset=dict(type="CocoDataset", pipeline=pipeline))
    cfg = Config(
        dict(
            default_scope="mmdet",
            model=dict(type="FasterRCNN"),
            train_dataloader=dict(dataset=dict(pipeline=[dict(type="RandomFlip", prob=0.5)])),
            test_dataloader=dict(dataset=dataset),
        )
    )
    enable_tta(cfg)
    assert cfg.model.type == "mmdet.DetTTAModel"
    assert cfg.model.module.type == "FasterRCNN"
    steps = cfg.test_dataloader.dataset.dataset.pipeline
    assert [step.type for step in steps] == ["LoadImageFromFile", "Resize", "TestTimeAug"]
    flips, (pack,) = steps[-1].transforms
    assert [flip.prob for flip in flips] == [1.0, 0.0]
    assert "flip_direction" in pack.meta_keys


def test_tta_of_a_segmentor_needs_its_config():
    from smallvit.cli import UserError
    from smallvit.cli.testing import enable_tta

    loader = dict(dataset=dict(type="ADE20KDataset", pipeline=[]))
    with pytest.raises(UserError, match="tta_model and tta_pipeline"):
        enable_tta(Config(dict(default_scope="mmseg", test_dataloader=loader)))


@pytest.mark.parametrize(
    ("model", "train", "reason"),
    [
        (dict(type="MaskRCNN", roi_head=dict(mask_head=dict(type="FCN"))), "RandomFlip", "masks"),
        (dict(type="FasterRCNN"), "Resize", "pipeline has no flips"),
    ],
)
def test_invalid_flips_are_rejected(model, train, reason):
    from smallvit.cli import UserError
    from smallvit.cli.testing import enable_tta

    def loader(*steps):
        return dict(dataset=dict(type="CocoDataset", pipeline=[dict(type=step) for step in steps]))

    cfg = dict(default_scope="mmdet", model=model, train_dataloader=loader(train))
    with pytest.raises(UserError, match=reason):
        enable_tta(Config({**cfg, "test_dataloader": loader("PackDetInputs")}))
