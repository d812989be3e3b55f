"""From the command line to the config that a Runner takes."""

from __future__ import annotations

import argparse
import os.path as osp
from copy import deepcopy

from mmengine.config import Config, ConfigDict

from smallvit.engine.folder import fit_to_folder
from smallvit.errors import UserError
from smallvit.explain import remember_config

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def load_config(path: str) -> Config:
    """Read a config file.

    Args:
        path (str): Path of the file.

    Returns:
        Config: The config, its bases merged.

    Raises:
        UserError: If there is no such file, or it does not parse.
    """
    if not osp.isfile(path):
        raise UserError(f"no such config file: {path}{_neighbours(path)}")
    try:
        cfg = Config.fromfile(path)
    except SyntaxError as error:
        raise UserError(
            f"{_file_read(error, path)}, line {error.lineno}: not valid Python: {error.msg}"
        ) from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: a file it inherits from is missing: {error}") from error
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, KeyError, TypeError, ValueError, NameError, AttributeError) as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}") from error
    remember_config(cfg)
    return cfg


def _file_read(error: SyntaxError, path: str) -> str:
    """The file that MMEngine was reading: the config, or one that it inherits from."""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_locals.get("filename")
        path = name if isinstance(name, str) and name.endswith(".py") else path
        trace = trace.tb_next
    return path


def _neighbours(path: str) -> str:
    import difflib
    import os

    folder = osp.dirname(path) or "."
    if not osp.isdir(folder):
        return ""
    names = [name for name in os.listdir(folder) if name.endswith(".py")]
    near = difflib.get_close_matches(osp.basename(path), names, n=3)
    return f"; did you mean {', '.join(osp.join(folder, name) for name in near)}?" if near else ""


def require_keys(cfg: Config, keys: tuple[str, ...], purpose: str) -> None:
    """Check that a config has what a tool reads.

    Args:
        cfg (Config): The config.
        keys (tuple[str, ...]): Top-level keys that must be set.
        purpose (str): What needs them, for the message.

    Raises:
        UserError: If one is missing or None.
    """
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise UserError(
            f"{cfg.filename}: {purpose} needs {', '.join(missing)}, which the config does not set"
        )


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Set the work folder: the flag's, else the config's, else one named after the config.

    Args:
        cfg (Config): The config, changed in place.
        work_dir (str | None): The flag.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        name = osp.splitext(osp.basename(cfg.filename))[0]
        cfg.work_dir = osp.join("work_dirs", name)


def set_loader_defaults(cfg: Config, args: argparse.Namespace) -> None:
    """Give the data loaders what MMPretrain's tools give them, and apply the ``--no-*`` flags.

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


def merge_overrides(cfg: Config, overrides: dict | None, checkpoint: str | None = None) -> None:
    """Merge ``--cfg-options`` last, and say which of them the config did not have.

    A config of one's own folder is then fitted to it, as :func:`fit_to_folder` tells.

    Args:
        cfg (Config): The config, changed in place.
        overrides (dict | None): Dotted keys and values.
        checkpoint (str, optional): What will be tested, whose classes count then.
            Defaults to None.

    Raises:
        UserError: If a key leads through a list that is too short, or a plain value, or
            the folder is missing.
    """
    if overrides:
        new = [key for key in overrides if not _has(cfg, key)]
        try:
            cfg.merge_from_dict(overrides)
        except (KeyError, TypeError) as error:
            raise UserError(f"--cfg-options {' '.join(overrides)}: {error}") from error
        if new:
            print(f"--cfg-options adds keys that the config did not have: {', '.join(new)}")
    _fit_workers(cfg, overrides or {})
    fit_to_folder(cfg, checkpoint)


def _has(cfg: Config, dotted: str) -> bool:
    node = cfg
    for key in dotted.split("."):
        if isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                return False
            node = node[int(key)]
        elif hasattr(node, "get") and key in node:
            node = node[key]
        else:
            return False
    return True


def _fit_workers(cfg: Config, overrides: dict) -> None:
    """Without workers nothing can persist; torch makes an error of a leftover True."""
    for name in LOADERS:
        loader = cfg.get(name)
        asked = f"{name}.persistent_workers" in overrides
        if loader is not None and not loader.get("num_workers") and not asked:
            loader.persistent_workers = False
