"""Application of command-line flags to a config."""

from __future__ import annotations

import argparse
import os.path as osp
from collections.abc import Sequence
from copy import deepcopy

from mmengine.config import Config, ConfigDict

from smallvit.compat.moved import forward
from smallvit.engine.config_files import read_config, require_keys
from smallvit.engine.pipeline import LOADERS, Request, fit_folder, override, take_steps

__getattr__ = forward(__name__)

__all__ = [
    "LOADERS",
    "finalize_config",
    "load_config",
    "require_keys",
    "set_loader_defaults",
    "set_work_dir",
    "short_names",
]

load_config = read_config


def short_names(paths: Sequence[str]) -> list[str]:
    """Return unique display names of config files: base names, numbered if repeated.

    Args:
        paths (Sequence[str]): Config files.

    Returns:
        list[str]: One name per file.
    """
    names: list[str] = []
    for number, path in enumerate(paths, 1):
        name = osp.splitext(osp.basename(path))[0]
        names.append(name if name not in names else f"{name} ({number})")
    return names


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Set ``work_dir``: from the flag, the config, or the name of the config file.

    Args:
        cfg (Config): The config, changed in place.
        work_dir (str | None): Value of ``--work-dir``.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        name = osp.splitext(osp.basename(cfg.filename))[0]
        cfg.work_dir = osp.join("work_dirs", name)


def set_loader_defaults(cfg: Config, args: argparse.Namespace) -> None:
    """Set MMPretrain's data loader defaults and apply the ``--no-*`` flags.

    Args:
        cfg (Config): The config, changed in place.
        args (argparse.Namespace): With ``no_pin_memory`` and ``no_persistent_workers``.
    """
    from mmengine.device import is_cuda_available

    defaults = ConfigDict(pin_memory=is_cuda_available(), persistent_workers=True)
    if cfg.get("default_scope") == "mmpretrain":
        defaults.collate_fn = ConfigDict(type="default_collate")
    for name in LOADERS:
        loader = cfg.get(name)
        if loader is None:
            continue
        merged = deepcopy(defaults)
        merged.update(loader)
        if args.no_pin_memory:
            merged.pin_memory = False
        if args.no_persistent_workers:
            merged.persistent_workers = False
        cfg[name] = merged


def finalize_config(cfg: Config, overrides: dict | None, checkpoint: str | None = None) -> None:
    """Merge ``--cfg-options`` and report keys that the config did not have.

    A config for a folder of images is then adapted to it, see :func:`fit_to_folder`.

    Args:
        cfg (Config): The config, changed in place.
        overrides (dict | None): Values by dotted key.
        checkpoint (str, optional): Checkpoint to test, which determines the classes. Defaults to
            None.

    Raises:
        UserError: If a key indexes beyond a list or into a plain value, or if the folder does
            not exist.
    """
    request = Request(cfg=cfg, overrides=overrides, checkpoint=checkpoint)
    take_steps(request, first=override, last=fit_folder)
