"""Helpers for testing tools: run a tool in this process, write a tiny dataset."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).parent.parent
_numbers = itertools.count()


def load_tool(path: str) -> ModuleType:
    """Import a tool from its file, such as ``train.py`` or ``misc/check_env.py``."""
    folder = str((ROOT / "tools" / path).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # scripts can import modules from their own folder
    name = f"tool_{Path(path).with_suffix('').as_posix().replace('/', '_')}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def run_main(main: Callable, *argv: object) -> int:
    """Run a tool as its script does; a usage error returns its exit status."""
    from smallvit.cli import run_tool

    try:
        return run_tool(main, [str(arg) for arg in argv])
    except SystemExit as error:
        return error.code


def own_experiment() -> str:
    """Return a unique ``experiment_name``, which MMEngine needs for runs of the same second."""
    return f"experiment_name=test{next(_numbers)}"


def write_pictures(folder: Path) -> None:
    """Write dark and bright noise images as two classes, for training and testing."""
    import cv2

    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 5)):
        for name, level in (("dark", 60), ("bright", 180)):
            target = folder / split / name
            target.mkdir(parents=True)
            for number in range(count):
                image = np.clip(rng.normal(level, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(target / f"{number}.png"), image)


TINY = """
default_scope = "mmpretrain"
pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CustomDataset", data_root=r"{data}", data_prefix="train", pipeline=pipeline
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="CustomDataset", data_root=r"{data}", data_prefix="test", pipeline=pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="Accuracy", topk=1)
test_evaluator = val_evaluator
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="ResNet_CIFAR",
        depth=18,
        stem_channels=8,
        base_channels=8,
        norm_cfg=dict(type="SyncBN"),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead", num_classes=2, in_channels=64, loss=dict(type="CrossEntropyLoss")
    ),
)
data_preprocessor = dict(mean=[127.0] * 3, std=[60.0] * 3, num_classes=2)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9))
param_scheduler = dict(type="MultiStepLR", by_epoch=True, milestones=[1])
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=1),
    visualization=dict(type="VisualizationHook", enable=False),
)
visualizer = dict(type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
randomness = dict(seed=0)
"""


def write_tiny_config(folder: Path) -> Path:
    """Write an MMPretrain classification config and its data, which trains in a second."""
    write_pictures(folder / "data")
    path = folder / "tiny.py"
    path.write_text(TINY.replace("{data}", str(folder / "data")))
    return path
