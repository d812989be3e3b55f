"""Training runs of a linear model that take milliseconds, with MMEngine's Runner and our guards."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch import nn

from smallvit.engine.guards import GUARDS

_numbers = itertools.count()


@MODELS.register_module(name="TestTinyModel", force=True)
class TinyModel(BaseModel):
    """A body and a head on four features."""

    def __init__(self, classes: int = 2, width: int = 3, init_cfg: Any = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone = nn.Linear(4, width)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs, labels, mode="tensor"):
        logits = self.head(self.backbone(inputs.float()))
        if mode == "loss":
            return {"loss": nn.functional.cross_entropy(logits, labels.long() % logits.shape[1])}
        return logits


@DATASETS.register_module(name="TestTinyData", force=True)
class TinyData(BaseDataset):
    """Random features that only depend on the length."""

    def __init__(self, length: int = 16) -> None:
        self.length = length
        super().__init__()

    def load_data_list(self) -> list[dict]:
        draw = torch.Generator().manual_seed(0)
        values = torch.rand(self.length, 4, generator=draw)
        return [dict(inputs=value, labels=number % 2) for number, value in enumerate(values)]

    def get_data_info(self, idx: int) -> dict:
        return dict(super().get_data_info(idx), img_path=f"{idx}.png")

    def prepare_data(self, idx: int) -> dict:
        item = self.data_list[idx] if not self.serialize_data else super().get_data_info(idx)
        return dict(inputs=item["inputs"], labels=item["labels"])


def tiny_runner(
    work_dir: Path,
    epochs: int = 2,
    batch: int = 4,
    samples: int = 16,
    lr: float = 0.1,
    schedule: list[dict] | None = None,
    accumulate: int = 1,
    weight_decay: float = 0.0,
    model: dict | None = None,
    hooks: list | None = None,
    **kwargs: Any,
) -> Runner:
    """Build a guarded run of the tiny model; ``kwargs`` are arguments of the Runner."""
    hooks_by_key = {key: dict(type=kind) for key, kind in GUARDS.items()}
    return Runner(
        model={"type": "TestTinyModel", **(model or {})},
        work_dir=str(work_dir),
        experiment_name=f"tiny{next(_numbers)}",
        train_dataloader=dict(
            batch_size=batch,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
            dataset=dict(type="TestTinyData", length=samples),
        ),
        train_cfg=kwargs.pop("train_cfg", dict(by_epoch=True, max_epochs=epochs)),
        optim_wrapper=dict(
            optimizer=dict(type="SGD", lr=lr, momentum=0.9, weight_decay=weight_decay),
            accumulative_counts=accumulate,
        ),
        param_scheduler=schedule,
        default_hooks=dict(
            **hooks_by_key,
            checkpoint=kwargs.pop("checkpoint", dict(type="smallvit.AtomicCheckpointHook")),
        ),
        custom_hooks=hooks,
        randomness=dict(seed=1),
        log_level="WARNING",
        **kwargs,
    )


def cosine(end: int) -> list[dict]:
    """Cosine schedule over the given number of epochs, stepped per iteration."""
    return [
        dict(
            type="CosineAnnealingLR",
            eta_min=0.0,
            by_epoch=True,
            begin=0,
            end=end,
            convert_to_iter_based=True,
        )
    ]
