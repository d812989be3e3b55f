"""Experiment trackers, selected with ``--log-to``."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from mmengine.config import Config, ConfigDict

from smallvit.errors import UserError

#: MMEngine's visualization backend of each tracker, and the module it requires.
TRACKERS = {
    "tensorboard": ("TensorboardVisBackend", "tensorboard"),
    "wandb": ("WandbVisBackend", "wandb"),
    "mlflow": ("MLflowVisBackend", "mlflow"),
}


def add_log_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--log-to``.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--log-to",
        nargs="+",
        choices=list(TRACKERS),
        default=[],
        help="log to these trackers in addition to the work directory; configure them with "
        "--cfg-options visualizer.vis_backends.1.KEY=VALUE",
    )


def log_to(cfg: Config, names: list[str]) -> None:
    """Add experiment trackers to the visualizer of a config.

    Args:
        cfg (Config): The config, changed in place.
        names (list[str]): Keys of ``TRACKERS``.

    Raises:
        UserError: If a tracker is not installed.
    """
    if not names:
        return
    visualizer = cfg.setdefault("visualizer", ConfigDict(type="Visualizer"))
    backends = list(visualizer.get("vis_backends") or [ConfigDict(type="LocalVisBackend")])
    for name in names:
        kind, module = TRACKERS[name]
        if find_spec(module) is None:
            raise UserError(f"--log-to {name} requires a package: pip install {module}")
        if not any(backend["type"].split(".")[-1] == kind for backend in backends):
            backends.append(ConfigDict(type=kind))
    visualizer.vis_backends = backends
