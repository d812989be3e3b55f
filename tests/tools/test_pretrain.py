"""The ``smallvit pretrain`` command, and fine-tuning of the pretrained backbone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from forked import PATIENCE
from smallvit.cli.pretrain import METHODS, main, parse_args
from smallvit.errors import UserError
from tool_helpers import load_tool, run_main

pytestmark = pytest.mark.usefixtures("in_folder")


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / "classes" / name).mkdir(parents=True)
        for number in range(6):
            picture = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(root / "classes" / name / f"{number}.png"), picture)
    return root


@pytest.fixture(scope="module")
def flat(images):
    (images / "flat").mkdir()
    for number, path in enumerate(sorted((images / "classes").glob("*/*.png"))):
        shutil.copy(path, images / "flat" / f"{number}.png")
    return images / "flat"


SMALL = ("--epochs", "1", "--batch-size", "6", "--seed", "0")


def plan(capsys, *argv):
    assert run_main(main, *argv, *SMALL, "--dry-run") == 0
    return capsys.readouterr().out


TIMM = "timm:vit_tiny_patch16_224"
ALONE = (
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
)


def test_pretraining_and_going_on(images, tmp_path, capsys):
    """On class folders without reading the labels; then fine-tuning with the labels."""
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    argv = (TIMM, "--data", images / "classes", "--image-size", "64", *SMALL)
    assert run_main(main, *argv, "--work-dir", run, "--cfg-options", *ALONE[:2]) == 0
    assert f"--image-size 64 --pretrained {run}" in capsys.readouterr().out
    lines = next(run.glob("*/vis_data/scalars.json")).read_text().splitlines()
    found = {key for line in lines for key in json.loads(line)}
    assert {"loss", "pretraining/rank", "pretraining/spread", "pretraining/knn"} <= found
    before = torch.load(run / "epoch_1.pth", weights_only=True)["state_dict"]

    argv += ("--pretrained", run, "--lr", "1e-7", "--work-dir", tuned)
    assert run_main(load_tool("train.py").main, *argv, "--cfg-options", *ALONE) == 0
    after = torch.load(tuned / "epoch_1.pth", weights_only=True)["state_dict"]
    key = "backbone.timm_model.blocks.3.attn.qkv.weight"
    assert torch.allclose(after[key], before[key], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["views", pytest.param("masked", marks=pytest.mark.exhaustive)])
def test_an_interrupted_pretraining_resumes_bit_exactly(method, images, tmp_path):
    argv = (TIMM, "--data", images / "classes", "--image-size", "32", "--method", method)
    argv += ("--epochs", "2", "--batch-size", "6", "--seed", "0")
    options = ("--cfg-options", *ALONE[:2], "default_hooks.checkpoint.interval=1")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_main(main, *argv, "--work-dir", whole, *options) == 0

    # State after a power failure in the second epoch.
    shutil.copytree(whole, parts)
    (parts / "epoch_2.pth").unlink()
    (parts / "last_checkpoint").write_text(str(parts / "epoch_1.pth"))
    assert run_main(main, *argv, "--work-dir", parts, "--resume", *options) == 0
    wanted, found = (
        torch.load(folder / "epoch_2.pth", weights_only=True)["state_dict"]
        for folder in (whole, parts)
    )
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.exhaustive
def test_a_killed_pretraining_is_resumed(images, tmp_path):
    """By SIGKILL in a process started as by a user, then by the same command with --resume."""
    run = tmp_path / "run"
    argv = ["dhvt", "--data", images / "classes", "--image-size", "16", "--method", "instance"]
    argv += ["--epochs", "40", "--batch-size", "6", "--seed", "0", "--work-dir", run]
    options = ["--cfg-options", *ALONE[:2], "default_hooks.checkpoint.interval=1"]
    command = [sys.executable, "-m", "smallvit", "pretrain", *argv, *options]
    with open(tmp_path / "log.txt", "w") as log:
        process = subprocess.Popen(
            list(map(str, command)), stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + PATIENCE
            while not (run / "epoch_3.pth").exists():
                assert process.poll() is None, (tmp_path / "log.txt").read_text()[-2000:]
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "epoch_40.pth").exists()
    shorter = ["train_cfg.max_epochs=8"]  # only the start of the resumed run is tested
    assert run_main(main, *argv, "--resume", *options, *shorter) == 0
    sessions = json.loads((run / "run.json").read_text())["sessions"]
    assert sessions[0]["from_iter"] == 0
    # Two steps per epoch; last_checkpoint is written after the checkpoint itself.
    assert sessions[1]["from_iter"] >= 2 * 2
    assert (run / "epoch_8.pth").exists()


def test_masked_autoencoder_if_patches_can_be_dropped(flat, tmp_path, capsys):
    said = plan(capsys, TIMM, "--data", flat, "--image-size", "64")
    assert "masked autoencoder: 75% of the 4 x 4 patches are dropped" in said
    assert "12 of" in said
    assert "dry run" in said
    config = next(tmp_path.glob("work_dirs/*/*.py")).read_text()
    assert "labels_by_folder=False" in config
    # Otherwise DDP would wait for gradients of parameters after the last block that is used.
    assert "find_unused_parameters = True" in config


def test_masked_pixels_for_other_backbones(flat, capsys):
    said = plan(capsys, "dwnet", "--data", flat)
    assert "masked pixels (SimMIM), 60% in squares of 8 (cannot drop patches of DWNet" in said
    assert "instead" not in said


def test_instance_discrimination(images, tmp_path, capsys):
    said = plan(capsys, "dhvt", "--data", images / "classes", "--method", "instance")
    assert "12 classes, one per image: 2 large crops, 2 of 16 pixels" in said
    config = next(tmp_path.glob("work_dirs/*/*.py")).read_text()
    assert "num_classes=12" in config
    assert "labels_by_folder=True" in config


def test_images_of_a_coco_file(flat, tmp_path, capsys):
    file = flat / "instances.json"
    names = [dict(id=i, file_name=f"{i}.png") for i in range(9)]
    file.write_text(json.dumps(dict(images=names, annotations=[], categories=[])))
    said = plan(capsys, "dhvt", "--data", file, "--method", "instance")
    file.unlink()
    assert "9 classes, one per image" in said


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("dhvt", "--data", "absent"), "absent: no such file or folder"),
        (("dvt", "--data", "FLAT"), "dvt is a cascade of several networks"),
        (("dhvvt", "--data", "FLAT"), "no model 'dhvvt'. Did you mean dhvt"),
        (("dhvt", "--data", "FLAT", "--batch-size", "64"), "--batch-size 64 exceeds the 12 images"),
    ],
)
def test_invalid_options_are_rejected(argv, words, flat, capsys):
    argv = [str(flat) if one == "FLAT" else one for one in argv]
    assert run_main(main, *argv, "--dry-run") == 1
    assert words in capsys.readouterr().err


def test_a_rate_of_zero_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_args(["dhvt", "--data", "x", "--lr", "0"])
    assert "0 is not a learning rate" in capsys.readouterr().err


def test_another_network_is_refused(flat, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    torch.save(dict(state_dict={"backbone.cls_token": torch.zeros(1, 1, 8)}), run / "epoch_1.pth")
    (run / "last_checkpoint").write_text(str(run / "epoch_1.pth"))
    argv = ("dhvt", "--data", flat.parent / "classes", "--pretrained", run, "--dry-run")
    assert run_main(load_tool("train.py").main, *argv) == 1
    assert "Use the model that was pretrained" in capsys.readouterr().err
    (run / "last_checkpoint").unlink()
    assert run_main(load_tool("train.py").main, *argv) == 1
    assert "contains no checkpoint" in capsys.readouterr().err


def test_methods_are_those_of_the_package():
    from smallvit.apis.pretraining import METHODS as KNOWN

    assert list(METHODS) == list(KNOWN)
    assert parse_args(["dhvt", "--data", "x"]).method == "masked"


def test_collapsed_features_are_reported(caplog):
    from smallvit.plugins.self_supervision.monitor import (
        effective_rank,
        neighbor_accuracy,
        spread,
    )

    torch.manual_seed(0)
    random, alike = torch.randn(64, 16), torch.ones(64, 16) + 1e-3 * torch.randn(64, 16)
    assert spread(random) == pytest.approx(1, abs=0.1)
    assert spread(alike) < 0.01
    assert effective_rank(random) > 12
    assert effective_rank(torch.arange(64.0)[:, None] * torch.ones(16)) < 1.1
    labels = ["a"] * 32 + ["b"] * 32
    apart = torch.cat((random[:32] + 3, random[32:] - 3))
    assert neighbor_accuracy(apart, labels) == 100
    assert neighbor_accuracy(random, labels) < 80


def test_a_folder_with_few_images_is_refused(tmp_path):
    from smallvit.apis.pretraining import find_images

    (tmp_path / "few").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "few" / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="expected at least 8 images, got 3"):
        find_images(str(tmp_path / "few"))


def test_a_damaged_image_of_a_flat_folder_does_not_end_the_run(flat, tmp_path, caplog, capsys):
    """It is left out of the training and of the measured features, and no other file is."""
    shutil.copytree(flat, tmp_path / "damaged")
    (tmp_path / "damaged" / "bad.jpg").write_text("no image")
    argv = (TIMM, "--data", tmp_path / "damaged", "--image-size", "32", *SMALL)
    assert run_main(main, *argv, "--work-dir", "run", "--cfg-options", *ALONE[:2]) == 0
    assert (tmp_path / "run/epoch_1.pth").exists()
    said = capsys.readouterr()
    assert "outside of the class folders" not in said.out + said.err + caplog.text


def test_deep_images_are_scaled_as_in_training(tmp_path, capsys):
    for number in range(8):
        image = np.full((32, 32), 500 * number, np.uint16)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    plan(capsys, TIMM, "--data", tmp_path, "--work-dir", "run")
    written = (tmp_path / "run/run.py").read_text()
    assert written.count('dict(type="smallvit.ToColor", max_value=4095, channels=1)') == 2
    assert 'color_type="grayscale"' not in written


def test_a_dry_run_leaves_no_interrupted_training(flat, capsys):
    argv = (TIMM, "--data", flat, "--work-dir", "run")
    plan(capsys, *argv)
    assert not os.path.exists("run/.training.json")
