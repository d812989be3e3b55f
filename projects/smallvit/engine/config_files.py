"""Config file reading, with errors that contain the file name and a remedy."""

from __future__ import annotations

import difflib
import os
import os.path as osp

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from smallvit.compat.config_lookup import get_installed_path
from smallvit.errors import UserError
from smallvit.explain import remember_config
from smallvit.utils.spelling import closest_name


def read_config(path: str) -> Config:
    """Read a config file.

    Args:
        path (str): Path of the file, or its address in a package: ``smallvit::dwnet/x.py``.

    Returns:
        Config: The config, merged with its base configs.

    Raises:
        UserError: If there is no such file, or it does not parse.
    """
    path = find_config(path)
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


def find_config(path: str) -> str:
    """Find a config file.

    Args:
        path (str): Path of the file, or its address in a package, as ``_base_`` takes it:
            ``smallvit::dwnet/dwnet-t_in1k.py``, ``mmdet::retinanet/retinanet_r18_fpn_1x_coco.py``.

    Returns:
        str: Path of the file.

    Raises:
        UserError: If there is no such package or file.
    """
    file = _file_of_address(path) if "::" in path and not osp.isfile(path) else path
    if not osp.isfile(file):
        raise UserError(f"no such config file: {path}{_similar_files(file, shown_as=path)}")
    return file


def _file_of_address(address: str) -> str:
    package, _, name = address.partition("::")
    try:
        folder = get_installed_path(MODULE2PACKAGE.get(package, package))
    except ModuleNotFoundError as error:
        raise UserError(f"{address}: {error}") from error
    return osp.join(folder, ".mim", "configs", name)


def _file_read(error: SyntaxError, path: str) -> str:
    """The file that MMEngine was parsing: the config, or one that it inherits from."""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_locals.get("filename")
        path = name if isinstance(name, str) and name.endswith(".py") else path
        trace = trace.tb_next
    return path


def _similar_files(path: str, shown_as: str) -> str:
    folder = osp.dirname(path) or "."
    if not osp.isdir(folder):
        return ""
    names = [name for name in os.listdir(folder) if name.endswith(".py")]
    near = difflib.get_close_matches(osp.basename(path), names, n=3)
    # For an address, suggest addresses.
    start = shown_as[: len(shown_as) - len(osp.basename(path))] or "./"
    return f"; did you mean {', '.join(start + name for name in near)}?" if near else ""


def require_keys(cfg: Config, keys: tuple[str, ...], purpose: str) -> None:
    """Check that a config sets the keys that a tool needs.

    Args:
        cfg (Config): The config to check.
        keys (tuple[str, ...]): Top-level keys that must be set.
        purpose (str): Name of the tool, for the message.

    Raises:
        UserError: If one is missing or None.
    """
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        near = [key for key in cfg if closest_name(key, missing) is not None]
        hint = f"; it sets {', '.join(near)}" if near else ""
        raise UserError(
            f"{cfg.filename}: {purpose} requires {', '.join(missing)}, which the config does not "
            f"set{hint}"
        )


def keep_own_file(cfg: Config) -> None:
    """Keep the Runner from overwriting a config file that is in the work folder.

    Args:
        cfg (Config): The config, changed in place. If its file is in its work folder and inherits
            from others, the merged config is written to ``NAME_merged.py`` instead of ``NAME.py``.
    """
    path, folder = cfg.filename, cfg.get("work_dir")
    if not path or not folder or not osp.isfile(path) or not osp.isdir(folder):
        return
    if not osp.samefile(osp.dirname(osp.abspath(path)), folder):
        return
    with open(path, encoding="utf-8") as file:
        inherits = any(line.startswith("_base_") for line in file)
    if inherits:
        stem, ending = osp.splitext(path)
        super(Config, cfg).__setattr__("_filename", f"{stem}_merged{ending}")


def merge_options(cfg: Config, overrides: dict | None) -> None:
    """Merge ``--cfg-options``, and print those that the config did not have.

    Args:
        cfg (Config): The config, changed in place.
        overrides (dict | None): Dotted keys and values.

    Raises:
        UserError: If a key refers to a missing list item, or to a child of a plain value.
    """
    if not overrides:
        return
    new = [key for key in overrides if not _has(cfg, key)]
    try:
        cfg.merge_from_dict(overrides)
    except (KeyError, TypeError) as error:
        raise UserError(f"--cfg-options {' '.join(overrides)}: {error}") from error
    if new:
        print(f"--cfg-options adds new keys to the config: {', '.join(new)}")


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
