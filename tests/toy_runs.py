"""Minimal training runs in this process, for tests of everything around the training loop."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn

_numbers = itertools.count()


@MODELS.register_module()
class ToyModel(BaseModel):
    """Linear regression on points."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x, mode="tensor"):
        x = torch.stack(x)
        out = self.layer(x)
        return dict(loss=(out - x.sum(1, keepdim=True)).pow(2).mean()) if mode == "loss" else [out]


@DATASETS.register_module()
class ToyPoints(torch.utils.data.Dataset):
    """Four fixed points."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(x=torch.tensor([float(index), 1.0]))


@METRICS.register_module()
class ToyScore(BaseMetric):
    """A score that increases with every validation, or decreases if ``sign`` is negative."""

    default_prefix = "toy"
    calls = 0

    def __init__(self, sign=1):
        super().__init__()
        self.sign = sign

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        ToyScore.calls += 1
        return {"score": float(self.sign * ToyScore.calls)}


@HOOKS.register_module()
class OwnHook(CheckpointHook):
    """A user-defined checkpoint hook, which the guards do not modify."""


CONFIG = """
default_scope = "mmengine"
experiment_name = "{name}"
model = dict(type="ToyModel")
loader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="ToyPoints"),
)
train_dataloader = loader
val_dataloader = test_dataloader = dict(loader, sampler=dict(type="DefaultSampler", shuffle=False))
train_cfg = dict(by_epoch=True, max_epochs={epochs}, val_interval=1)
val_cfg = test_cfg = dict()
val_evaluator = test_evaluator = dict(type="ToyScore", sign={sign})
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.01))
default_hooks = dict(
    checkpoint=dict(type="{hook}", interval=1, max_keep_ckpts={kept}, save_best="toy/score",
                    rule="greater"),
)
randomness = dict(seed=0)
work_dir = r"{work_dir}"
log_level = "WARNING"
"""


def toy_config(
    work_dir: Path,
    epochs: int = 2,
    kept: int = 2,
    sign: int = 1,
    hook: str = "CheckpointHook",
    file: Path | None = None,
) -> Config:
    """Create the config of a run in a work directory, and write it to a file if one is given."""
    text = CONFIG.format(
        name=f"toy{next(_numbers)}",
        work_dir=work_dir,
        epochs=epochs,
        kept=kept,
        sign=sign,
        hook=hook,
    )
    if file is not None:
        file.write_text(text)
    cfg = Config.fromstring(text, ".py")
    return cfg


def toy_train(cfg: Config, resume: bool | str | Path = False) -> Runner:
    """Train as ``tools/train.py`` does."""
    from smallvit.engine.pipeline import adapt_config, build_runner

    cfg = cfg.copy()
    cfg.experiment_name = f"toy{next(_numbers)}"
    cfg.resume = bool(resume)
    cfg.load_from = None if isinstance(resume, bool) else str(resume)
    adapt_config(cfg)
    runner = build_runner(cfg)
    runner.train()
    return runner
