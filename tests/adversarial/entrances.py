"""Everywhere that a checkpoint comes in, as functions of this process: one list for all tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config

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
    """Where a checkpoint comes in.

    Attributes:
        valid (str): Attribute of the workshop: content of a checkpoint that it takes.
        enter (Callable): Gets the workshop, the file and a folder to write to.
    """

    valid: str
    enter: Callable[[Workshop, Path, Path], Any]


class Workshop:
    """Small configs and what their checkpoints hold, made once.

    Args:
        folder (Path): Where to keep them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def toy(self) -> Path:
        """The config of a line through points."""
        toy_config(self.folder / "unused", file=self.folder / "toy.py")
        return self.folder / "toy.py"

    @cached_property
    def trained(self) -> dict:
        """What a run of one epoch leaves."""
        work_dir = self.folder / "trained"
        toy_train(toy_config(work_dir, epochs=1))
        return torch.load(work_dir / "epoch_1.pth", weights_only=True)

    @cached_property
    def cascade(self) -> Path:
        """The config of two exits."""
        return self._write("cascade.py", CASCADE, "configs/dvt/dvt-mini_digits.py")

    @cached_property
    def calibrated(self) -> dict:
        """Weights of two exits, with thresholds beside them."""
        return {**self._weights_of(self.cascade), "multi_exit": CALIBRATION}

    @cached_property
    def official(self) -> dict:
        """The same in the official layout."""
        from smallvit.plugins.multi_exit.storage import to_official

        return to_official(self.calibrated)

    @cached_property
    def teacher(self) -> Path:
        """The config of a teacher."""
        return self._write("teacher.py", TEACHER, "configs/dwnet/dwnet-mini_digits.py")

    @cached_property
    def taught(self) -> dict:
        """Weights of the teacher."""
        return self._weights_of(self.teacher)

    @cached_property
    def dwnet(self) -> dict:
        """Weights of ours."""
        return self._weights_of(
            self._write("dwnet.py", DWNET, "configs/dwnet/dwnet-mini_digits.py")
        )

    @cached_property
    def official_dwnet(self) -> dict:
        """The same in the official layout, with its optimizer."""
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
    """Call a tool's ``main``, whose errors are raised."""
    options = ("--cfg-options", f"experiment_name=e{next(_numbers)}") if tool in RUNS else ()
    slow = {  # compilers are asked, and configs written in good style
        "mmengine.runner.runner.collect_env": dict,
        "mmengine.config.config.FormatCode": lambda text, **_: (text, True),
    }
    with ExitStack() as stack:
        for name, quick in slow.items():
            stack.enter_context(mock.patch(name, quick))
        load_tool(tool).main([str(arg) for arg in (*argv, *options)])


RUNS = ("train.py", "test.py")


def train(shop: Workshop, work: Path, *argv: object) -> None:
    run("train.py", shop.toy, "--work-dir", work, "--no-validate", *argv)


def automatic(shop: Workshop, path: Path, work: Path) -> None:
    (work / "epoch_1.pth").symlink_to(path)
    train(shop, work, "--resume")


def pointed(shop: Workshop, path: Path, work: Path) -> None:
    (work / "last_checkpoint").write_text(str(path))
    train(shop, work, "--resume")


def load_from(shop: Workshop, path: Path, work: Path) -> None:
    config = work / "started.py"
    config.write_text(f"_base_ = {str(shop.toy)!r}\nload_from = {str(path)!r}\n")
    run("train.py", config, "--work-dir", work, "--no-validate")


def pretrained(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.engine.install import install

    install(None)
    from mmengine.model import BaseModule
    from torch import nn

    class Net(BaseModule):
        def __init__(self) -> None:
            super().__init__(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
            self.layer = nn.Linear(2, 1)

    Net().init_weights()


def mmengine_loads(shop: Workshop, path: Path, work: Path) -> None:
    from mmengine.runner import load_checkpoint
    from torch import nn

    from smallvit.engine.install import install

    install(None)
    net = nn.Module()
    net.layer = nn.Linear(2, 1)
    load_checkpoint(net, str(path), "cpu")


def api(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.apis import load_model

    load_model(shop.cascade, path)


def folder_of_images(shop: Workshop, path: Path, work: Path) -> None:
    """A config that has the classes of its checkpoint."""
    from smallvit.engine.folder import fit_to_folder

    for name in ("a", "b"):
        (work / name).mkdir()
        (work / name / "1.png").touch()
    dataset = dict(type="ClassFolders", data_root=str(work))
    head = dict(num_classes=2)
    cfg = dict(fit_to_folder={}, data_root=str(work), model=dict(head=head))
    fit_to_folder(Config(dict(cfg, train_dataloader=dict(dataset=dataset))), str(path))


def teacher(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.plugins.locality_guidance.teacher import Teacher

    cfg = Config.fromfile(shop.teacher)
    Teacher(model=cfg.model.to_dict(), checkpoint=str(path), stages=(0, 1, 2), size=32).load()


def official(shop: Workshop, path: Path, work: Path) -> None:
    run("multi_exit/official.py", path, work / "converted.pth")


def calibrate(shop: Workshop, path: Path, work: Path) -> None:
    run("multi_exit/calibrate.py", shop.cascade, path, "--out", work / "calibrated.pth")


def plot(shop: Workshop, path: Path, work: Path) -> None:
    run("multi_exit/plot.py", path, "--out", work / "plot.png")


def throughput(shop: Workshop, path: Path, work: Path) -> None:
    few = ("--rounds", 1, "--points", 1, "--num-images", 4, "--batch-size", 2)
    run("multi_exit/benchmark.py", shop.cascade, path, *few)


def precompute(shop: Workshop, path: Path, work: Path) -> None:
    few = ("--batch-size", 10, "--num-workers", 0)
    run("locality_guidance/precompute.py", shop.teacher, path, "--out", work / "store", *few)


def convert(shop: Workshop, path: Path, work: Path) -> None:
    run("model_converters/convert.py", "dwnet", path, work / "converted.pth")


def convert_training(shop: Workshop, path: Path, work: Path) -> None:
    out = work / "converted.pth"
    run("model_converters/convert.py", "dwnet", path, out, "--training-state")


def revert(shop: Workshop, path: Path, work: Path) -> None:
    run("model_converters/convert.py", "dwnet", path, work / "converted.pth", "--reverse")


def whose(shop: Workshop, path: Path, work: Path) -> None:
    """A run looks into files of its folder before it removes them."""
    from smallvit.engine.checkpoint.run_files import id_in

    id_in(str(path))


#: By name. Each raises one of our errors, or does what it is there for.
ENTRANCES = {
    "test.py FILE": Entrance(
        "trained", lambda shop, path, work: run("test.py", shop.toy, path, "--work-dir", work)
    ),
    "train.py --resume FILE": Entrance(
        "trained", lambda shop, path, work: train(shop, work, "--resume", path)
    ),
    "train.py --resume": Entrance("trained", automatic),
    "last_checkpoint": Entrance("trained", pointed),
    "load_from": Entrance("trained", load_from),
    "init_cfg Pretrained": Entrance("trained", pretrained),
    "MMEngine's load_checkpoint": Entrance("trained", mmengine_loads),
    "load_model": Entrance("calibrated", api),
    "fit_to_folder": Entrance("trained", folder_of_images),
    "guidance.teacher.checkpoint": Entrance("taught", teacher),
    "precompute.py": Entrance("taught", precompute),
    "calibrate.py": Entrance("calibrated", calibrate),
    "plot.py": Entrance("calibrated", plot),
    "multi_exit/benchmark.py": Entrance("calibrated", throughput),
    "official.py": Entrance("official", official),
    "convert.py": Entrance("official_dwnet", convert),
    "convert.py --training-state": Entrance("official_dwnet", convert_training),
    "convert.py --reverse": Entrance("dwnet", revert),
    "removing old files": Entrance("trained", whose),
}
