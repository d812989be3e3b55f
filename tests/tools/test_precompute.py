"""Precomputing teacher features: resuming after a kill, options and errors."""

import multiprocessing
import signal
import time

import numpy as np
import pytest
import torch

from tool_helpers import ROOT, load_tool, run_main, write_tiny_config

precompute = load_tool("locality_guidance/precompute.py")

CONFIG = """
_base_ = r"{base}"

model = dict(
    backbone=dict(_delete_=True, type="smallvit.CifarResNet", depth=8, base_channels=4),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(in_channels=16),
)
train_dataloader = dict(dataset=dict(samples_per_class=12))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("teacher")


@pytest.fixture(scope="module")
def config(folder):
    path = folder / "tiny.py"
    path.write_text(CONFIG.replace("{base}", str(ROOT / "configs/dwnet/dwnet-mini_digits.py")))
    return path


def classifier(config):
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).eval()


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    model = classifier(config)
    model.init_weights()
    return model


@pytest.fixture(scope="module")
def checkpoint(model, folder):
    torch.save(dict(state_dict=model.state_dict()), folder / "teacher.pth")
    return folder / "teacher.pth"


@pytest.fixture(scope="module")
def store(config, checkpoint, folder):
    out = folder / "store"
    assert run_main(precompute.main, config, checkpoint, "--out", out, "--batch-size", "50") == 0
    return out


def run(config, checkpoint, out, *options):
    return run_main(precompute.main, config, checkpoint, "--out", out, *options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_features_are_the_teachers(store, model):
    from smallvit.datasets import Digits
    from smallvit.plugins.locality_guidance.fingerprint import sample_key
    from smallvit.plugins.locality_guidance.store import FeatureStore

    found = FeatureStore(store)
    assert found.shapes == ((4, 32, 32), (8, 16, 16), (16, 8, 8))
    assert found.header.data_set["num_classes"] == 10
    assert found.header.teacher["input_size"] == [32, 32]
    resize = dict(type="Resize", scale=32, interpolation="bicubic")
    digits = Digits(samples_per_class=12, pipeline=[resize, dict(type="PackInputs")])
    assert len(found) == len(digits) == 120
    model.backbone.out_indices = (0, 1, 2)
    for index in (0, 49, 50, 119):
        data = model.data_preprocessor(dict(inputs=digits[index]["inputs"][None]))
        with torch.no_grad():
            wanted = model.backbone(data["inputs"])
        arrays = found.read(index, sample_key(digits.get_data_info(index)))
        for array, each in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(array, each[0].numpy(), rtol=2e-3, atol=2e-3)
            assert array.std() > 0.01


def student(config, checkpoint, store=None):
    from mmengine.registry import MODELS, DefaultScope

    arch = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(
            dict(
                type="smallvit.GuidedClassifier",
                backbone=dict(type="VisionTransformer", arch=arch, img_size=32, patch_size=8),
                head=dict(type="LinearClsHead", num_classes=10, in_channels=16),
                data_preprocessor=dict(num_classes=10, mean=[77.9] * 3, std=[95.8] * 3),
                guidance=dict(
                    teacher=dict(model=str(config), checkpoint=str(checkpoint)), store=store
                ),
            )
        )
        torch.manual_seed(0)
        model.init_weights()
    return model.train()


def test_offline_losses_are_the_online_ones_without_augmentation(store, config, checkpoint):
    """Also for subsets, whose samples get the features of the whole dataset."""
    from mmengine.dataset import default_collate

    from smallvit.datasets import Digits, Subset

    digits = Digits(
        samples_per_class=12,
        pipeline=[
            dict(type="smallvit.LoadTeacherFeatures"),
            dict(type="Resize", scale=32, interpolation="bicubic"),
            dict(type="smallvit.GuidedRandomCrop", crop_size=32),
            dict(type="PackInputs", algorithm_keys=["teacher_features"]),
        ],
    )
    subset = Subset(digits, fraction=0.3, seed=1)
    batch = default_collate([subset[index] for index in range(16)])
    models = [student(config, checkpoint, path) for path in (None, str(store))]
    # Building a teacher draws random numbers, which changes the initialization of later layers.
    for one, other in zip(*(each.guidance.projections for each in models), strict=True):
        other.load_training_state(one.training_state())
    online, offline = (
        model(**model.data_preprocessor(batch, training=True), mode="loss") for model in models
    )
    assert offline["loss"] == online["loss"]
    assert online["loss_guidance"] > 0.01
    torch.testing.assert_close(offline["loss_guidance"], online["loss_guidance"], rtol=1e-3, atol=0)


def test_a_second_run_is_a_no_op(store, config, checkpoint, capfd):
    before = content(store)
    capfd.readouterr()
    assert run(config, checkpoint, store) == 0
    assert "complete: 120 images; nothing to do" in capfd.readouterr().out
    assert content(store) == before


def test_rejects_a_different_store(store, config, model, folder, capfd):
    before = content(store)
    model.head.fc.bias.data += 1
    other = folder / "other.pth"
    torch.save(dict(state_dict=model.state_dict()), other)
    options = ("--cfg-options", "train_dataloader.dataset.samples_per_class=3")
    assert run(config, other, store, *options) == 1
    message = capfd.readouterr().err
    for part in ("data_set.length: expected 30, got 120", "teacher.sha256", "--fresh"):
        assert part in message
    assert "Traceback" not in message
    assert content(store) == before


def test_options(config, checkpoint, tmp_path, capfd):
    from smallvit.plugins.locality_guidance.store import FeatureStore

    out = tmp_path / "store"
    # Subsets as created by MMEngine and by the wrappers.
    options = ("--stages", "1", "2", "--cfg-options", "train_dataloader.dataset.indices=9")
    assert run(config, checkpoint, out, "--num-workers", "2", *options) == 0
    store = FeatureStore(out)
    assert len(store) == 9
    assert store.shapes == ((8, 16, 16), (16, 8, 8))
    assert run(config, checkpoint, out, "--dtype", "float32", "--fresh", *options) == 0
    assert FeatureStore(out).header.dtype == "float32"
    assert "[>>" in capfd.readouterr().out


def kill_midway(config, checkpoint, out, *options):
    """Run the tool in a child process, and kill it after it has finished some more rows."""
    from smallvit.plugins.locality_guidance.store import finished_rows

    process = multiprocessing.get_context("fork").Process(
        target=run, args=(config, checkpoint, out, *options)
    )
    partial = f"{out}.partial"
    before = finished_rows(partial)
    process.start()
    while finished_rows(partial) == before and process.is_alive():
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_killed_and_run_again_gives_the_same_store(config, checkpoint, tmp_path, capfd):
    options = ("--batch-size", "8", "--chunk", "24")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(config, checkpoint, whole, *options) == 0
    for _ in range(2):
        kill_midway(config, checkpoint, killed, *options)
        assert not killed.exists()
    capfd.readouterr()
    assert run(config, checkpoint, killed, *options) == 0
    assert "resuming after " in capfd.readouterr().out
    assert content(killed) == content(whole)
    assert not (tmp_path / "killed.partial").exists()


def test_an_interrupted_store_of_something_else_is_refused(
    config, checkpoint, tmp_path, monkeypatch, capfd
):
    import smallvit.plugins.locality_guidance.precompute as module

    calls = []

    def stop(*args):
        calls.append(args)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return rows(*args)

    rows = module.stage_rows
    monkeypatch.setattr(module, "stage_rows", stop)
    out = tmp_path / "store"
    assert run(config, checkpoint, out, "--batch-size", "10", "--chunk", "10") == 130
    monkeypatch.undo()
    assert run(config, checkpoint, out, "--dtype", "float32") == 1
    message = capfd.readouterr().err
    assert "other settings:\n  dtype: expected float32, got float16" in message
    assert run(config, checkpoint, out) == 0
    assert "resuming after 20 of 121" in capfd.readouterr().out


def test_stores_remain_valid_if_files_are_moved(tmp_path):
    """Keys only depend on the folder and file names of images, not on their full path."""
    config = write_tiny_config(tmp_path)
    settings = config.read_text().replace("num_classes=2)", "num_classes=2, to_rgb=True)")
    config.write_text(settings)
    torch.save(dict(state_dict=classifier(config).state_dict()), tmp_path / "teacher.pth")
    assert run(config, tmp_path / "teacher.pth", tmp_path / "store") == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    config.write_text(settings.replace(str(tmp_path / "data"), str(tmp_path / "moved")))
    assert run(config, tmp_path / "teacher.pth", tmp_path / "store") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("val_dataloader.dataset.pipeline.0.type=RandomResizedCrop",),
            "val_dataloader has RandomResizedCrop: stored features must show the whole image",
        ),
        (("model.backbone.depth=14",), "is not a checkpoint of the teacher"),
        (
            ("train_dataloader.dataset.samples_per_class=1000",),
            "expected samples_per_class from 1 to",
        ),
    ],
)
def test_readable_errors(config, checkpoint, tmp_path, capfd, options, message):
    assert run(config, checkpoint, tmp_path / "store", "--cfg-options", *options) == 1
    found = capfd.readouterr().err
    assert message in found
    assert "Traceback" not in found
    assert not list(tmp_path.iterdir())


def test_rejects_other_files_at_the_output_path(config, checkpoint, tmp_path, capfd):
    (tmp_path / "file").write_text("mine")
    assert run(config, checkpoint, tmp_path / "file") == 1
    assert "not a store of teacher features" in capfd.readouterr().err
    assert run(config, checkpoint, tmp_path / "file", "--fresh") == 1
    assert "was not removed" in capfd.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_refuses_a_missing_checkpoint_and_a_concatenation(config, checkpoint, tmp_path, capfd):
    assert run(config, tmp_path / "gone.pth", tmp_path / "store") == 1
    assert "no such checkpoint" in capfd.readouterr().err
    both = tmp_path / "both.py"
    both.write_text(
        f'_base_ = r"{config}"\n'
        "part = _base_.train_dataloader.dataset\n"
        'train_dataloader = dict(dataset=dict(_delete_=True, type="ConcatDataset", '
        "datasets=[part, part]))\n"
    )
    assert run(both, checkpoint, tmp_path / "store") == 1
    assert "precompute its datasets one by one" in capfd.readouterr().err


GRAY = """
_base_ = r"{base}"

pipeline = [
    dict(type="LoadImageFromFile", color_type="grayscale"),
    dict(type="ResizeEdge", scale=16),
    dict(type="CenterCrop", crop_size=12),
    dict(type="PackInputs"),
]
val_dataloader = dict(dataset=dict(pipeline=pipeline))
train_dataloader = dict(dataset=dict(pipeline=pipeline))
model = dict(
    type="smallvit.GuidedClassifier",
    backbone=dict(in_channels=1),
    guidance=dict(
        teacher=dict(
            model="timm:test_vit",
            checkpoint=r"{checkpoint}",
            channels="repeat",
            size=32,
            stages=(0, -1),
            dtype="bfloat16",
        ),
        student_indices=(0, 1),
        store=r"{store}",
    ),
)
data_preprocessor = dict(mean=[127.0], std=[60.0], num_classes=2)
"""


def test_all_options_of_a_store_come_from_the_guided_config(tmp_path, capfd):
    """Gray images without cropping, for a timm network in half precision."""
    import cv2
    import timm
    from mmengine.config import Config

    from smallvit.plugins.locality_guidance import Teacher
    from smallvit.plugins.locality_guidance.store import FeatureStore

    base, store = write_tiny_config(tmp_path), tmp_path / "store"
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=0)
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    config = tmp_path / "gray.py"
    values = dict(base=base, checkpoint=tmp_path / "timm.pth", store=store)
    text = GRAY
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    config.write_text(text)
    assert run_main(precompute.main, config, "--out", store) == 0
    found = FeatureStore(store)
    assert found.shapes == ((64, 2, 2), (64, 2, 2))
    image = cv2.imread(str(tmp_path / "data/train/bright/0.png"), cv2.IMREAD_GRAYSCALE)
    teacher = Teacher(**Config.fromfile(config).model.guidance.teacher)
    raw = torch.nn.functional.interpolate(
        torch.tensor(image)[None, None].float(), (32, 32), mode="bilinear", antialias=True
    )
    mean, std = (torch.tensor(teacher.preprocessor[key]).view(3, 1, 1) for key in ("mean", "std"))
    for stage, expected in enumerate(teacher.features((raw - mean) / std)):
        array = np.load(store / f"stage_{stage}.npy")[0]
        np.testing.assert_allclose(array, expected[0].float().numpy(), rtol=1e-2, atol=1e-2)
    model = classifier(config)
    model.init_weights()  # compares the store with the teacher
    assert [each.out_channels for each in model.guidance.projections] == [64, 64]
    capfd.readouterr()
    assert run_main(precompute.main, base, "--out", store) == 1
    assert "requires a checkpoint" in capfd.readouterr().err


STUDENT = """
_base_ = r"{config}"

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(
        teacher=dict(model=r"{config}", checkpoint=r"{checkpoint}"), store=r"{store}",
        student_indices=(0, 0, 0),
    ),
)
train_pipeline = [
    dict(type="smallvit.LoadTeacherFeatures"),
    dict(type="Resize", scale=32, interpolation="bicubic"),
    dict(type="smallvit.{moved}", {how}),
    dict(type="PackInputs", algorithm_keys=["teacher_features"]),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline), num_workers=0)
"""


def errors_of(folder, config, checkpoint, store, moved, how):
    from mmengine.config import Config

    from smallvit.plugins.locality_guidance.store_error import store_error

    values = dict(config=config, checkpoint=checkpoint, store=store, moved=moved, how=how)
    text = STUDENT
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    path = folder / "student.py"
    path.write_text(text)
    return store_error(Config.fromfile(path), batches=1)


def test_the_teacher_sees_black_padding(store, config, checkpoint, tmp_path, monkeypatch):
    from smallvit.plugins.locality_guidance import windows

    settings = (tmp_path, config, checkpoint, store)
    exact = errors_of(*settings, "GuidedRandomCrop", "crop_size=32")
    assert max(exact) < 2e-3
    padded = errors_of(*settings, "GuidedRandomCrop", "crop_size=32, padding=8")
    cut_out = windows.cut_out
    monkeypatch.setattr(windows, "cut_out", lambda maps, parts, black=None: cut_out(maps, parts))
    zero = errors_of(*settings, "GuidedRandomCrop", "crop_size=32, padding=8")
    assert all(one < 0.8 * two for one, two in zip(padded, zero, strict=True))


def test_flips_of_mirrored_images_are_exact(store, config, checkpoint, tmp_path, capfd):
    flip = ("GuidedRandomFlip", "prob=1.0, direction='horizontal'")
    flipped = errors_of(tmp_path, config, checkpoint, store, *flip)
    out = tmp_path / "mirrored"
    assert run(config, checkpoint, out, "--mirrored", "--batch-size", "50") == 0
    assert "120 images, their mirrored images and a black one" in capfd.readouterr().out
    assert np.load(out / "stage_0.npy", mmap_mode="r").shape == (241, 4, 32, 32)
    assert max(errors_of(tmp_path, config, checkpoint, out, *flip)) < 2e-3 < min(flipped)
    assert run(config, checkpoint, out) == 1
    assert "mirrored: expected False, got True" in capfd.readouterr().err
    error = load_tool("locality_guidance/store_error.py")
    assert run_main(error.main, tmp_path / "student.py", "--batches", "1") == 0
    assert "stage 2: 0.00" in capfd.readouterr().out
    assert run_main(error.main, config) == 1
    assert "must set guidance.store and guidance.teacher" in capfd.readouterr().err
