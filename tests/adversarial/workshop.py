"""Small configs, their checkpoints, and helpers to call tools with them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from adversarial.wrong_values import PLACES
from tool_helpers import ROOT, load_tool
from toy_runs import toy_config, toy_train

_numbers = itertools.count()

CASCADE = """
_base_ = r"{base}"
network = dict(
    type="smallvit.T2TViT",
    arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8),
    img_size=32,
    token_dims=4,
)
splits = [
    dict(kernel_sizes=(patch, 1), strides=(patch, 2), paddings=(0, 0)) for patch in (16, 8, 4)
]
model = dict(
    backbone=dict(exits=[dict(token_grid=split, **network) for split in splits]),
    head=dict(in_channels=8),
)
test_dataloader = dict(batch_size=10, dataset=dict(samples_per_class=1))
calibration_dataloader = dict(batch_size=10, dataset=dict(samples_per_class=1))
"""
TEACHER = """
_base_ = r"{base}"
model = dict(
    backbone=dict(_delete_=True, type="smallvit.CifarResNet", depth=8, base_channels=2),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(in_channels=8),
)
train_dataloader = dict(dataset=dict(samples_per_class=1))
"""
DWNET = """
_base_ = r"{base}"
tiny = dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[1, 2, 4, 8])
model = dict(
    backbone=dict(arch=dict(_delete_=True, **tiny)),
    head=dict(in_channels=64),
)
"""
CALIBRATION = {
    "version": 1,
    "flops": [1e6, 2e6, 3e6],
    "thresholds": [[0.5, 0.5, 0.0], [0.9, 0.9, 0.0]],
    "evaluation": {
        **{"anytime": [50.0, 60.0, 70.0], "num_images": 10},
        **{"accuracy": [60.0, 65.0], "flops": [1.5e6, 2.5e6]},
    },
}


@dataclass
class Entrance:
    """An entry point for untrusted files.

    Attributes:
        valid (str): Attribute of the workshop with valid content for :func:`write_content`.
        enter (Callable): Called with the workshop, the file and an output folder.
        shown (str): Name of the rejected file in error messages. Defaults to the file name.
        places (Sequence[str]): Keys at which wrong values are inserted. Defaults to those of
            checkpoints.
        stops (bool): Whether a bad file is an error; otherwise it is reported and ignored. Defaults
            to True.
        reads (bool): Whether it reads the file; otherwise the file is only named. Defaults to True.
    """

    valid: str
    enter: Callable[[Workshop, Path, Path], Any]
    shown: str = "hostile.pth"
    places: Sequence[str] = PLACES
    stops: bool = True
    reads: bool = True


def write_content(content: Any, path: Path) -> None:
    """Write the content for an entry point: bytes unchanged, JSON, or a checkpoint."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, Document):
        path.write_text(json.dumps(content, default=repr))
    else:
        torch.save(content, path)


class Document(dict):
    """Content that is written as JSON."""


class Workshop:
    """Small configs and their checkpoints, created once.

    Args:
        folder (Path): Folder for the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def toy(self) -> Path:
        """Config of a linear regression."""
        toy_config(self.folder / "unused", file=self.folder / "toy.py")
        return self.folder / "toy.py"

    @cached_property
    def trained(self) -> dict:
        """Checkpoint of a run of one epoch."""
        work_dir = self.folder / "trained"
        toy_train(toy_config(work_dir, epochs=1))
        return torch.load(work_dir / "epoch_1.pth", weights_only=True)

    @cached_property
    def cascade(self) -> Path:
        """Config of a cascade with two exits."""
        return self._write("cascade.py", CASCADE, "configs/dvt/dvt-mini_digits.py")

    @cached_property
    def calibrated(self) -> dict:
        """Weights of two exits with thresholds."""
        return {**self._weights_of(self.cascade), "multi_exit": CALIBRATION}

    @cached_property
    def official(self) -> dict:
        """The same in the official layout."""
        from smallvit.plugins.multi_exit.storage import to_official

        return to_official(self.calibrated)

    @cached_property
    def teacher(self) -> Path:
        """Config of a teacher."""
        return self._write("teacher.py", TEACHER, "configs/dwnet/dwnet-mini_digits.py")

    @cached_property
    def taught(self) -> dict:
        """Weights of the teacher."""
        return self._weights_of(self.teacher)

    @cached_property
    def dwnet(self) -> dict:
        """Weights of our DWNet."""
        return self._weights_of(
            self._write("dwnet.py", DWNET, "configs/dwnet/dwnet-mini_digits.py")
        )

    @cached_property
    def official_dwnet(self) -> dict:
        """The same in the official layout, with the optimizer."""
        from smallvit.converters import revert

        weights = revert("dwnet", self.dwnet["state_dict"])
        statistics = ("running_mean", "running_var", "num_batches_tracked")
        names = [key for key in weights if not key.endswith(statistics)]
        groups = [
            [key for key in names if (weights[key].dim() > 1) is more] for more in (True, False)
        ]
        moments = {
            number: dict(step=7, exp_avg=weights[key], exp_avg_sq=weights[key])
            for number, key in enumerate(itertools.chain(*groups))
        }
        numbers = iter(moments)
        listed = [dict(params=list(itertools.islice(numbers, len(each)))) for each in groups]
        return dict(model=weights, optimizer=dict(state=moments, param_groups=listed), epoch=4)

    def content(self, name: str) -> Any:
        """Content for an entry point, by its ``valid``."""
        from adversarial.data_entrances import DOCUMENTS

        return getattr(DOCUMENTS, name) if hasattr(DOCUMENTS, name) else getattr(self, name)

    def _write(self, name: str, text: str, base: str) -> Path:
        path = self.folder / name
        path.write_text(text.replace("{base}", str(ROOT / base)))
        return path

    def _weights_of(self, path: Path) -> dict:
        return {"state_dict": self._state(Config.fromfile(path)), "meta": {"epoch": 1, "iter": 1}}

    def _state(self, cfg: Config) -> dict:
        from mmengine.registry import DefaultScope

        from smallvit.engine.models import build_model

        with DefaultScope.overwrite_default_scope("mmpretrain"):
            return dict(build_model(cfg).state_dict())


def run(tool: str, *argv: object) -> None:
    """Call the ``main`` function of a tool, without catching errors."""
    options = ("--cfg-options", f"experiment_name=e{next(_numbers)}") if tool in RUNS else ()
    load_tool(tool).main([str(arg) for arg in (*argv, *options)])


RUNS = ("train.py", "test.py")
