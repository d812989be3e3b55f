"""Small training runs in child processes that can be killed: configs, forked ranks, results."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from forked import PATIENCE, become_rank, context, end_with, forget_the_parent, free_port, redirect

ROOT = Path(__file__).parent.parent
ARCH = dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[1, 2, 4, 8])


class Progress(Hook):
    """Report the number of started iterations to the parent process."""

    def __init__(self, count) -> None:
        self.count = count

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.count.value += 1


def preload(*libraries: str) -> None:
    """Import the dependencies of training once for all children."""
    import importlib

    from smallvit.registry import DATASETS, HOOKS, MODELS

    for registry in (DATASETS, HOOKS, MODELS):
        registry.import_from_location()
    importlib.import_module("torch._dynamo")  # required by the first optimizer step
    for library in libraries:
        importlib.import_module(f"{library}.utils").register_all_modules(False)


def classification(work_dir: Path) -> Config:
    """DWNet on a few digits: epochs, EMA, dropout, augmentation and mid-epoch checkpoints."""
    cfg = Config.fromfile(ROOT / "configs/dwnet/dwnet-mini_digits.py")
    cfg.model.backbone.update(arch=dict(ARCH), drop_path_rate=0.3)
    cfg.model.head.in_channels = 8 * ARCH["embed_dims"]
    cfg.train_dataloader.update(batch_size=4)
    cfg.train_dataloader.dataset.update(samples_per_class=2)
    cfg.val_dataloader.dataset.update(indices=20)
    cfg.train_cfg.update(max_epochs=6, val_interval=2)
    cfg.param_scheduler[0].end = 6
    cfg.param_scheduler[1].end = 6
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=2)
    cfg.custom_hooks = [dict(type="EMAHook", momentum=0.1)]
    return _finish(cfg, work_dir)


def in_memory(work_dir: Path) -> Config:
    """The same with images in memory and more batch augmentations."""
    cfg = classification(work_dir)
    cfg.data_preprocessor.type = "smallvit.AugmentingPreprocessor"
    colors = dict(channel_order="bgr", mean=[77.9] * 3, std=[95.8] * 3)
    policy = dict(policy="rand-m9-mstd0.5", fill=colors["mean"], channel_order="bgr")
    cfg.train_dataloader.dataset.pipeline[-1:-1] = [
        dict(type="RandomFlip", prob=0.5),
        dict(type="smallvit.ColorJitter", channel_order="bgr", contrast=0.5, hue=0.2),
        dict(type="smallvit.RandAugment", **policy),
        dict(type="smallvit.RandomErasing", **colors),
    ]
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].collate_fn = dict(type="smallvit.collate_in_memory")
        dataset = cfg[name].dataset
        dataset.of, dataset.type = dataset.type, "smallvit.InMemory"
        dataset.cache = str(work_dir.parent / "images")
    return cfg


def segmentation(work_dir: Path, scenes: Path, iters: int = 24) -> Config:
    """UperNet with DWNet on a few scenes: iterations, an infinite sampler and worker processes."""
    cfg = Config.fromfile(ROOT / "configs/dwnet/dwnet-mini_digits-seg.py")
    width = ARCH["embed_dims"]
    cfg.model.data_preprocessor.size = (48, 48)  # the crop size below, so no padding
    cfg.model.backbone.update(arch=dict(ARCH), drop_path_rate=0.3)
    cfg.model.decode_head.update(in_channels=[width, 2 * width, 4 * width, 8 * width], channels=8)
    cfg.model.auxiliary_head.update(in_channels=4 * width, channels=8)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].update(batch_size=2)
        cfg[name].dataset.data_root = str(scenes)
    cfg.train_dataloader.dataset.pipeline.insert(
        2, dict(type="RandomCrop", crop_size=(48, 48), cat_max_ratio=1.0)
    )
    cfg.train_cfg.update(max_iters=iters, val_interval=iters // 2)
    cfg.param_scheduler[0].end = 6
    cfg.param_scheduler[1].update(begin=6, end=iters)
    cfg.default_hooks.checkpoint.update(interval=2)
    return _finish(cfg, work_dir)


def _finish(cfg: Config, work_dir: Path) -> Config:
    cfg.work_dir = str(work_dir)
    cfg.default_hooks.logger.interval = 1
    cfg.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    cfg.experiment_name = work_dir.name
    return cfg


class Run:
    """A training run in one or more child processes.

    Args:
        cfg (Config): Config of the run.
        processes (int): Number of ranks. Defaults to 1.
        resume (bool): Whether to resume from the work directory. Defaults to False.
        prepare (Callable, optional): Called with the config in the child before the run.
    """

    def __init__(
        self,
        cfg: Config,
        processes: int = 1,
        resume: bool = False,
        prepare: Callable[[Config], None] | None = None,
    ) -> None:
        self.cfg, self.resume, self.prepare = cfg, resume, prepare
        self.iterations = context.Value("i", 0)
        self.output = Path(cfg.work_dir).with_suffix(".out")
        sys.stdout.flush()
        sys.stderr.flush()
        port = free_port()
        self.children = [
            context.Process(target=self._child, args=(rank, processes, port))
            for rank in range(processes)
        ]
        for child in self.children:
            child.start()

    def _child(self, rank: int, processes: int, port: int) -> None:
        redirect(self.output)
        os.chdir(self.output.parent)  # MMEngine creates temporary folders relative to it
        forget_the_parent()
        cfg = self.cfg
        if processes > 1:
            become_rank(rank, processes, port)
            cfg.launcher = "pytorch"
        cfg.resume = self.resume

        def go() -> None:
            if self.prepare is not None:
                self.prepare(cfg)
            train(cfg, Progress(self.iterations) if rank == 0 else None)

        end_with(go)

    def wait(self) -> list[int]:
        """Wait for the processes to end and return the exit statuses of the ranks."""
        for child in self.children:
            child.join(PATIENCE)
            if child.is_alive():
                self.kill()
                raise TimeoutError(f"the training hangs:\n{self.tail()}")
        return [child.exitcode for child in self.children]

    def finish(self) -> None:
        """Wait for the processes to end and check that they succeeded."""
        statuses = self.wait()
        assert statuses == [0] * len(statuses), self.tail()

    def kill(self, ranks: Sequence[int] | None = None) -> None:
        """Kill all processes at once, as a power failure would."""
        for rank, child in enumerate(self.children):
            if ranks is None or rank in ranks:
                os.kill(child.pid, signal.SIGKILL)
        for child in self.children:
            child.join(PATIENCE)

    def kill_after(self, iterations: int, delay: float) -> bool:
        """Kill all processes after an iteration and a delay; returns False if training ended."""
        while self.iterations.value < iterations and self.children[0].is_alive():
            time.sleep(0.002)
        time.sleep(delay)
        alive = self.children[0].is_alive()
        for child in self.children:
            if child.is_alive():
                os.kill(child.pid, signal.SIGKILL)
        for child in self.children:
            child.join(PATIENCE)
        return alive and self.children[0].exitcode == -signal.SIGKILL

    def tail(self, count: int = 40) -> str:
        """Return the last lines of the output."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-count:])


def train(cfg: Config, progress: Hook | None = None) -> None:
    """Train as ``tools/train.py`` does, in this process."""
    from smallvit.engine.pipeline import adapt_config, build_runner

    torch.set_num_threads(1)
    adapt_config(cfg)
    runner = build_runner(cfg)
    if progress is not None:
        runner.register_hook(progress, priority="VERY_LOW")
    runner.train()


def losses(work_dir: Path) -> dict[int, float]:
    """Read the loss curve from the logs of all sessions; later sessions override earlier ones."""
    found = {}
    for file in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in file.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # line truncated by a kill
            if "loss" in record:
                found[record["step"]] = record["loss"]
    return found
