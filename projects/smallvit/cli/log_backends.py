"""The flag ``--log-to``: experiment trackers beside the local logs."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from mmengine.config import Config, ConfigDict

from smallvit.errors import UserError

#: MMEngine's backend of each tracker, and the module that it imports.
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
        help="log to these too, beside the files in the work folder; their settings: "
        "--cfg-options visualizer.vis_backends.1.KEY=VALUE",
    )


def log_to(cfg: Config, names: list[str]) -> None:
    """Add trackers to those that a config logs to.

    Args:
        cfg (Config): The config, changed in place.
        names (list[str]): The trackers.

    Raises:
        UserError: If one is not installed.
    """
    if not names:
        return
    visualizer = cfg.setdefault("visualizer", ConfigDict(type="Visualizer"))
    backends = list(visualizer.get("vis_backends") or [ConfigDict(type="LocalVisBackend")])
    for name in names:
        kind, module = TRACKERS[name]
        if find_spec(module) is None:
            raise UserError(f"--log-to {name} needs a package: pip install {module}")
        if not any(backend["type"].split(".")[-1] == kind for backend in backends):
            backends.append(ConfigDict(type=kind))
    visualizer.vis_backends = backends
