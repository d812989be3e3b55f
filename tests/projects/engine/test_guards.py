"""Fault injection: training ends as the guard of each fault specifies."""

import json
import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import nn

from run_helpers import Run, losses, preload, train
from smallvit.engine.checkpoint.newest import candidates, last_checkpoint, newest_whole_checkpoint
from smallvit.engine.checkpoint.run_files import RunFiles
from smallvit.engine.run_record import read_record
from smallvit.errors import CheckpointError


@pytest.fixture(scope="module", autouse=True)
def _imports():
    preload()


@MODELS.register_module()
class GuardedToy(BaseModel):
    """Mean of an image through two layers; ``nan_at`` makes one step return NaN."""

    def __init__(self, nan_at=None, unused=False):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.unused = nn.Linear(3, 1) if unused else None
        self.nan_at, self.calls = nan_at, 0

    def forward(self, inputs, data_samples=None, mode="tensor"):
        out = self.layer(torch.stack([image.float().mean((0, 1)) for image in inputs]) / 255)
        if mode == "predict":
            return data_samples
        self.calls += 1
        spoilt = float("nan") if self.calls == self.nan_at else 1.0
        return dict(loss_a=(out**2).mean(), loss_b=out.abs().mean() * spoilt)


@DATASETS.register_module()
class GuardedPictures(BaseDataset):
    def load_data_list(self):
        return [dict(img_path=str(path)) for path in sorted(Path(self.data_root).glob("*.jpg"))]


class Sample:
    def __init__(self, img_path):
        self.img_path = img_path


class Pack:
    def __call__(self, results):
        return dict(
            inputs=torch.from_numpy(results["img"]), data_samples=Sample(results["img_path"])
        )


def pictures(folder, count, bad=()):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        cv2.imwrite(str(path), rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        if number in bad:
            content = path.read_bytes()
            path.write_bytes(content[:-20])
    return folder


@pytest.fixture
def toy(tmp_path):
    def make(count=8, bad=(), epochs=2, val_bad=None, **model):
        data = pictures(tmp_path / "pictures", count, bad)
        pipeline = [dict(type="LoadImageFromFile"), Pack()]
        loader = dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=True),
            dataset=dict(type="GuardedPictures", data_root=str(data), pipeline=pipeline),
        )
        cfg = dict(
            default_scope="mmengine",
            model=dict(type="GuardedToy", **model),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01)),
            default_hooks=dict(
                logger=dict(type="LoggerHook", interval=1),
                checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
            ),
            work_dir=str(tmp_path / "work"),
            experiment_name=tmp_path.name,
            randomness=dict(seed=0),
        )
        if val_bad is not None:
            folder = pictures(tmp_path / "val", 4, val_bad)
            val = {**loader, "dataset": {**loader["dataset"], "data_root": str(folder)}}
            cfg.update(
                val_dataloader=val, val_cfg=dict(), val_evaluator=dict(type="Count", prefix="n")
            )
        return Config(cfg, format_python_code=False)

    return make


def fails(run):
    assert run.wait() == [1] * len(run.children)
    return run.tail(60)


def test_nan_at_a_step(toy, tmp_path):
    message = fails(Run(toy(nan_at=4, epochs=5)))
    error = message[message.rindex("NonFiniteError") :]
    assert "iteration 4 (epoch 2): the loss is not finite: loss=nan, loss_a=" in error
    assert "loss_b=nan" in error
    assert len(re.findall(r"pictures/\d+\.jpg", error)) == 4
    path = tmp_path / "work" / "epoch_1.pth"
    assert f"last good checkpoint: {path}" in error
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())
    assert not (tmp_path / "work" / "epoch_2.pth").exists()


def test_non_finite_weights_are_not_saved(toy, tmp_path):
    class Spoil(Hook):
        priority = "HIGH"

        def after_train_epoch(self, runner):
            if runner.epoch == 1:
                runner.model.layer.weight.data[0, 1] = float("inf")

    cfg = toy(epochs=3)
    cfg.custom_hooks = [Spoil()]
    message = fails(Run(cfg))
    assert "iteration 4" in message or "iteration 5" in message
    assert "layer.weight are not finite" in message
    assert newest_whole_checkpoint(str(tmp_path / "work")).endswith("epoch_1.pth")


def test_a_few_bad_samples_are_replaced(toy, tmp_path):
    run = Run(toy(count=20, bad=(3, 11)))
    run.finish()
    log = run.output.read_text()
    # MMEngine's logger omits the repeated message in the second epoch.
    assert log.count("replaced an unreadable sample") == 2
    assert "003.jpg: truncated JPEG" in log
    assert "unreadable samples up to the end of epoch 2: 2 (limit 10)" in log
    assert len(losses(tmp_path / "work")) == 10


def test_too_many_bad_samples_stop_the_run(toy):
    # 1% of 1,100 is 11, and 0.1% would be 1, which the minimum limit of 10 replaces.
    bad = set(range(0, 1100, 100))
    cfg = toy(count=1100, bad=bad, epochs=1)
    cfg.train_dataloader.batch_size = 50
    message = fails(Run(cfg))
    error = message[message.rindex("BadSamplesError") :]
    assert "11 of 1100 training samples of one epoch could not be read" in error
    assert "limit of 10" in error
    assert len(re.findall(r"/\d+00\.jpg", error)) == 10


def test_workers_report_bad_samples(toy):
    cfg = toy(count=8, bad=(2,), epochs=1)
    cfg.train_dataloader.num_workers = 1
    run = Run(cfg)
    run.finish()
    assert "002.jpg: truncated JPEG" in run.output.read_text()


def test_a_switched_off_guard_stops_at_the_first(toy):
    cfg = toy(count=8, bad=(2,))
    cfg.default_hooks.bad_samples = dict(type="smallvit.BadSampleHook", enabled=False)
    assert "002.jpg: truncated JPEG" in fails(Run(cfg))


def test_validation_stops_with_the_path(toy):
    from mmengine.evaluator import BaseMetric
    from mmengine.registry import METRICS

    @METRICS.register_module(force=True)
    class Count(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results += [1] * len(data_samples)

        def compute_metrics(self, results):
            return {"samples": len(results)}

    assert "val/001.jpg: truncated JPEG" in fails(Run(toy(val_bad=(1,))))


class TestFullDisk:
    @pytest.fixture
    def small_disk(self, tmp_path):
        folder = tmp_path / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("mounting a small disk needs root")
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)

    def test_the_last_good_checkpoint_stays(self, toy, small_disk):
        class Grow(Hook):
            """Makes the third checkpoint too large for the disk."""

            def before_save_checkpoint(self, runner, checkpoint):
                if runner.epoch == 2:
                    checkpoint["more"] = torch.zeros(1 << 16)

        cfg = toy(epochs=4)
        cfg.work_dir = str(small_disk / "work")
        cfg.custom_hooks = [Grow()]
        message = fails(Run(cfg))
        error = message[message.rindex("CheckpointError") :]
        assert "epoch_3.pth: No space left on device" in error
        assert f"last good checkpoint is {cfg.work_dir}/epoch_2.pth" in error
        names = os.listdir(cfg.work_dir)
        assert {"epoch_1.pth", "epoch_2.pth"} <= set(names)
        assert not any("incomplete" in name or name == "epoch_3.pth" for name in names)
        assert newest_whole_checkpoint(cfg.work_dir).endswith("epoch_2.pth")


def test_a_work_dir_that_cannot_be_written(toy, tmp_path):
    from smallvit.explain import explain

    (tmp_path / "file").write_text("")
    cfg = toy()
    cfg.work_dir = str(tmp_path / "file" / "work")
    with pytest.raises(OSError, match="Not a directory") as caught:
        train(cfg)
    message = explain(caught.value, cfg)
    assert message.startswith(f"cannot write {cfg.work_dir}")
    assert "--work-dir" in message


class TestFallback:
    @pytest.fixture
    def trained(self, toy, tmp_path):
        cfg = toy(epochs=3)
        cfg.default_hooks.checkpoint.max_keep_ckpts = 3
        Run(cfg).finish()
        return cfg, tmp_path / "work"

    def test_truncated_last_checkpoint(self, trained):
        cfg, folder = trained
        assert last_checkpoint(str(folder)) == str(folder / "epoch_3.pth")
        whole = (folder / "epoch_3.pth").read_bytes()
        (folder / "epoch_3.pth").write_bytes(whole[: len(whole) // 2])
        run = Run(cfg, resume=True)
        run.finish()
        log = run.output.read_text()
        assert f"skipped {folder}/epoch_3.pth: damaged or not a checkpoint" in log
        assert f"resuming {folder}/epoch_2.pth" in log
        again = torch.load(folder / "epoch_3.pth", weights_only=True)
        (folder / "first.bin").write_bytes(whole)
        first = torch.load(folder / "first.bin", weights_only=True)
        for key, value in first["state_dict"].items():
            assert torch.equal(value, again["state_dict"][key])

    def test_changed_bytes(self, trained):
        _, folder = trained
        path = folder / "epoch_3.pth"
        weight = torch.load(path, weights_only=True)["state_dict"]["layer.weight"]
        content = path.read_bytes()
        stored = weight.numpy().tobytes()
        assert content.count(stored) >= 1
        path.write_bytes(content.replace(stored, bytes(len(stored))))
        assert newest_whole_checkpoint(str(folder)).endswith("epoch_2.pth")

    def test_no_complete_checkpoint(self, trained):
        _, folder = trained
        for path in folder.glob("*.pth"):
            path.write_bytes(b"")
        with pytest.raises(CheckpointError) as caught:
            newest_whole_checkpoint(str(folder))
        assert all(f"epoch_{number}.pth" in str(caught.value) for number in (1, 2, 3))

    def test_checkpoints_are_tried_from_the_latest(self, trained):
        _, folder = trained
        (folder / "best_x_epoch_9.pth").write_bytes(b"")
        (folder / "last_checkpoint").unlink()
        names = [Path(path).name for path in candidates(str(folder))]
        assert names == ["epoch_3.pth", "epoch_2.pth", "epoch_1.pth"]

    def test_a_moved_work_dir(self, trained, tmp_path):
        _, folder = trained
        moved = folder.rename(tmp_path / "moved")
        assert newest_whole_checkpoint(str(moved)) == str(moved / "epoch_3.pth")

    def test_no_checkpoint(self, tmp_path):
        assert newest_whole_checkpoint(str(tmp_path)) is None

    def test_weights_alone_are_not_resumed(self, trained):
        cfg, folder = trained
        weights = torch.load(folder / "epoch_3.pth", weights_only=True)["state_dict"]
        torch.save({"state_dict": weights, "meta": {}}, folder / "weights.pth")
        cfg.load_from = str(folder / "weights.pth")
        assert "weights.pth: contains weights, but no training state" in fails(
            Run(cfg, resume=True)
        )


def test_old_checkpoints_are_removed_after_the_new_one_is_written(toy, tmp_path, monkeypatch):
    order = []
    move, remove = os.replace, RunFiles.remove

    def replaced(source, target):
        order.append(("write", Path(target).name))
        move(source, target)

    def removed(self, path, folder):
        order.append(("remove", Path(path).name))
        remove(self, path, folder)

    def check(cfg):
        monkeypatch.setattr(os, "replace", replaced)
        monkeypatch.setattr(RunFiles, "remove", removed)

    def prepare(cfg):
        check(cfg)
        cfg.custom_hooks = [Report()]

    class Report(Hook):
        def after_run(self, runner):
            steps = [step for step in order if step[1] != "run.json"]
            (tmp_path / "order.json").write_text(json.dumps(steps))

    Run(toy(epochs=3), prepare=prepare).finish()
    assert json.loads((tmp_path / "order.json").read_text())[-3:] == [
        ["write", "epoch_3.pth"],
        ["write", "last_checkpoint"],
        ["remove", "epoch_1.pth"],
    ]


class TestProcesses:
    def test_a_killed_rank_ends_the_others(self, toy):
        class Wait(Hook):
            def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                time.sleep(0.05)

        cfg = toy(epochs=1000)
        cfg.custom_hooks = [Wait()]
        run = Run(cfg, processes=2)
        while run.iterations.value < 2:
            time.sleep(0.01)
        began = time.monotonic()
        run.kill(ranks=[1])
        assert time.monotonic() - began < 60
        assert run.children[0].exitcode == 1

    def test_ranks_with_uneven_shares(self, toy):
        cfg = toy(count=9)
        cfg.train_dataloader.batch_size = 1
        cfg.train_dataloader.sampler.round_up = False
        message = fails(Run(cfg, processes=2))
        assert "the processes have 5, 4 training batches" in message
        assert "round_up=True" in message

    def test_a_process_without_data(self, toy):
        cfg = toy(count=1)
        cfg.train_dataloader.sampler.round_up = False
        assert "rank 1 has no training batch: 1 samples" in fails(Run(cfg, processes=2))

    def test_unused_parameters(self, toy):
        from smallvit.explain import UNUSED_PARAMETERS

        assert UNUSED_PARAMETERS in fails(Run(toy(unused=True), processes=2))

    def test_only_rank_0_writes(self, toy, tmp_path):
        cfg = toy(epochs=1)

        def prepare(cfg):
            if os.environ["RANK"] == "1":
                cfg.work_dir = str(tmp_path / "rank1")

        Run(cfg, processes=2, prepare=prepare).finish()
        written = [path for path in (tmp_path / "rank1").rglob("*") if path.is_file()]
        assert written == []


def test_a_run_started_by_mmengine_is_resumed(toy, tmp_path):
    def stock(cfg):
        from mmengine.runner import Runner

        Runner.from_cfg(cfg).train()
        os._exit(0)

    cfg = toy(epochs=1)
    Run(cfg, prepare=stock).finish()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "work" / "epoch_1.pth", weights_only=True)
    cfg.train_cfg.max_epochs = 2
    run = Run(cfg, resume=True)
    run.finish()
    assert "resuming" in run.output.read_text()
    hub = torch.load(tmp_path / "work" / "epoch_2.pth", weights_only=True)["message_hub"]
    assert len(hub["log_scalars"]["train/loss"]["log_history"]) == 4


def test_run_record(toy, tmp_path):
    cfg = toy(epochs=1)
    Run(cfg).finish()
    cfg.train_cfg.max_epochs = 2
    Run(cfg, resume=True).finish()
    record = read_record(cfg.work_dir)
    assert record["status"] == "finished"
    assert "GuardedToy" in record["config"]
    assert record["seed"] == 0
    assert record["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert record["data"]["train"]["samples"] == 8
    assert len(record["data"]["train"]["listing"]) == 64
    first, second = record["sessions"]
    assert second["from_iter"] == 2
    assert second["resumed"].endswith("epoch_1.pth")
    assert second["iter"] == 4
    assert first["command"].startswith(sys.executable)
    assert record["wall_seconds"] == pytest.approx(first["seconds"] + second["seconds"])
