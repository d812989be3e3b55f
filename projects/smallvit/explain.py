"""Translate exceptions of the libraries to messages that name the config key and a fix."""

from __future__ import annotations

import difflib
import errno
import os.path as osp
import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError
from types import FrameType, TracebackType
from typing import Any

from smallvit.errors import DataError, SmallvitError, how_to_install
from smallvit.utils.configs import walk

NOT_REGISTERED = re.compile(r"'?\"?(?P<name>[\w.]+) is not in the (?P<registry>[\w:]+) registry")
NOT_RESOLVED = re.compile(r"Failed to get (?P<name>[\w.]+)$")
UNUSED_PARAMETERS = "Expected to have finished reduction in the prior iteration"
#: Error numbers of a disk that is full, read-only or failing, or of a path that is no folder.
UNWRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG),
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST),
)
#: Messages of gloo in processes that wait for one that has exited.
LOST_PEER = ("Connection closed by peer", "Connection reset by peer")
#: Start of the message in a process that waited for one that has exited.
LOST_PEER_REASON = "another process of this run ended"
#: Exceptions caused by invalid config values; any other in a build is a bug and keeps its trace.
CONFIG_ERRORS = (ValueError, TypeError, KeyError, AssertionError, ImportError, OSError)
PACKAGES = {"cv2": "opencv-python", "sklearn": "scikit-learn"}
#: Modules that both the upstream packages and the onedl forks provide.
MM_MODULES = ("mmengine", "mmcv", "mmpretrain", "mmdet", "mmseg")

#: The current config, so that errors can name the key that they come from.
_context: dict = {"cfg": None}


def remember_config(cfg) -> None:
    """Store the config of the current tool for error messages.

    Args:
        cfg (Config): The merged config.
    """
    _context["cfg"] = cfg


def explain(error: BaseException, cfg: Any = None) -> str | None:
    """Explain an error that is caused by the user's config or files.

    Args:
        error (BaseException): The exception that was raised.
        cfg (Config, optional): The current config. Defaults to None, the one stored by
            :func:`remember_config`.

    Returns:
        str | None: A short message, or None if the cause is not known to be the user's.
    """
    cfg = _context["cfg"] if cfg is None else cfg
    for rule in (
        _own,
        _unregistered,
        _missing_module,
        _annotations,
        _download,
        _missing_file,
        _unwritable,
        _unused_parameters,
        _not_compiled,
        _lost_peer,
        _no_batch,
        _no_sample,
        _single_value,
    ):
        message = rule(error, cfg)
        if message is not None:
            return message
    built = _innermost_build(error.__traceback__)
    if built is not None and isinstance(error, CONFIG_ERRORS):
        where = _where(cfg, lambda _, value: value == built)
        return f"cannot build {built.get('type')}{where}: {_text(error)}"
    if _from_worker(error):
        return _text(error)
    return None


def _where(cfg: Any, matches: Callable[[str, Any], bool]) -> str:
    if cfg is None:
        return ""
    paths = [path for path, value in walk(cfg) if matches(path, value)]
    return f" (config key {', '.join(paths[:3])})" if paths else ""


def _own(error: BaseException, cfg: Any) -> str | None:
    """Errors of smallvit, whose messages are complete."""
    if not isinstance(error, SmallvitError):
        return None
    if _from_worker(error):
        return _text(error)
    built = _innermost_build(error.__traceback__) if isinstance(error, DataError) else None
    return str(error) + ("" if built is None else _where(cfg, lambda _, value: value == built))


def _not_compiled(error: BaseException, cfg: Any) -> str | None:
    """A failure of a ``torch.compile`` backend or of a tool that it calls."""
    if type(error).__module__.partition(".")[2].split(".")[0] not in ("_dynamo", "_inductor"):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"torch.compile failed, {type(error).__name__}: {' '.join(lines[:2])[:300]}. Remove "
        "--compile, or use another mode (--debug shows the traceback)"
    )


def _annotations(error: BaseException, cfg: Any) -> str | None:
    """A dataset that fails on its annotation file without naming it."""
    if not isinstance(error, (KeyError, JSONDecodeError)):
        return None
    owners = (frame.f_locals.get("self") for frame in _frames(error.__traceback__))
    files = (getattr(owner, "ann_file", None) for owner in owners)
    path = next((file for file in files if file and isinstance(file, str)), None)
    if path is None:
        return None
    key = _where(cfg, lambda _, value: isinstance(value, str) and path.endswith(value or "\0"))
    if isinstance(error, KeyError):
        return f"annotation file {path} has no {error}{key}"
    return f"annotation file {path} is not valid JSON: {error}{key}"


def _download(error: BaseException, cfg: Any) -> str | None:
    """An archive, damaged or missing, that MMPretrain tries to download again."""
    for frame in _frames(error.__traceback__):
        found = frame.f_locals
        if frame.f_code.co_name == "download_url" and {"fpath", "url", "md5"} <= set(found):
            break
    else:
        return None
    path = found["fpath"]
    key = _where(cfg, lambda _, value: isinstance(value, str) and value and path.startswith(value))
    state = "has a wrong checksum" if osp.isfile(path) else "is missing"
    return (
        f"{path} {state} (expected MD5 {found['md5']}){key}, and {found['url']} cannot be "
        f"downloaded ({_text(error)}). Put the archive there, or check the network connection"
    )


def _unregistered(error: BaseException, cfg: Any) -> str | None:
    if not isinstance(error, (KeyError, RuntimeError)):
        return None
    text = str(error)
    found = NOT_REGISTERED.search(text) or NOT_RESOLVED.search(text)
    if found is None:
        return None
    name = found["name"]
    known = _known_types()
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=3, cutoff=0.6)
    where = _where(cfg, lambda path, value: path.endswith("type") and value == name)
    near = [f"{known[match]}.{match}" for match in near]
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return (
        f"no type {name!r} is registered{where}.{hint} For your own type, set "
        "custom_imports = dict(imports=['your.module'])"
    )


def _known_types() -> dict[str, str]:
    """Scope of every registered type name, in all loaded registries."""
    from mmengine import registry

    names: dict[str, str] = {}
    roots = [value for value in vars(registry).values() if isinstance(value, registry.Registry)]
    for node in roots:
        for child in [node, *node.children.values()]:
            names.update(dict.fromkeys(child.module_dict, child.scope))
    return names


def _missing_module(error: BaseException, cfg: Any) -> str | None:
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.split(".")[0]
    if package == "smallvit":
        return f"no module {error.name!r}{_where(cfg, lambda _, value: value == error.name)}"
    if package in MM_MODULES:
        return f"{how_to_install([package])}{_named(cfg, error.name)}"
    return (
        f"the package {package!r} is required but not installed{_named(cfg, error.name)}: "
        f"pip install {PACKAGES.get(package, package)} (tools/misc/check_env.py lists missing "
        "packages)"
    )


def _named(cfg: Any, name: str) -> str:
    return _where(cfg, lambda _, value: isinstance(value, str) and value == name)


def _missing_file(error: BaseException, cfg: Any) -> str | None:
    if not isinstance(error, FileNotFoundError):
        return None
    text = _text(error)
    path = error.filename or next(iter(re.findall(r"[\w./~-]*/[\w./-]+", text)), None)
    if not isinstance(path, str):
        return text

    def points_there(key: str, value: Any) -> bool:
        return isinstance(value, str) and len(value) > 1 and path.startswith(value)

    key = _where(cfg, points_there)
    return f"no such file or folder: {path}{key}" if error.filename else f"{text}{key}"


def _unwritable(error: BaseException, cfg: Any) -> str | None:
    """A disk that is full or failing, or an invalid work folder."""
    if not isinstance(error, OSError) or error.errno not in (*UNWRITABLE, errno.EIO):
        return None
    if error.errno == errno.EIO:
        where = f" with {error.filename}" if error.filename else ""
        return f"disk failure{where} ({error.strerror}). Check the disk before you run this again"
    path = error.filename or (cfg.get("work_dir") if cfg is not None else None) or "the results"
    return (
        f"cannot write {path}: {error.strerror}. Free some space, or choose another folder with "
        "--work-dir"
    )


def _unused_parameters(error: BaseException, cfg: Any) -> str | None:
    if UNUSED_PARAMETERS not in str(error):
        return None
    return (
        "some parameters did not contribute to the loss, and the processes wait for their "
        "gradients. If this is intended, set find_unused_parameters=True "
        "(--cfg-options find_unused_parameters=True; slower). Set TORCH_DISTRIBUTED_DEBUG=DETAIL "
        "to list them"
    )


def _lost_peer(error: BaseException, cfg: Any) -> str | None:
    if not any(sign in str(error) for sign in LOST_PEER):
        return None
    return f"{LOST_PEER_REASON}; see its error above or below"


def _no_batch(error: BaseException, cfg: Any) -> str | None:
    """An epoch-based schedule with no batches; the error names neither data nor loader."""
    if "`epoch_length` must be a positive integer, but got 0" not in str(error):
        return None
    loader = (cfg.get("train_dataloader") if cfg is not None else None) or {}
    runners = (frame.f_locals.get("self") for frame in _frames(error.__traceback__))
    loops = (getattr(runner, "_train_loop", None) for runner in runners)
    data = next((loop.dataloader for loop in loops if hasattr(loop, "dataloader")), None)
    samples = f"{len(data.dataset)} samples, " if data is not None else ""
    return (
        f"no training batch: {samples}train_dataloader.batch_size="
        f"{loader.get('batch_size')}, drop_last={loader.get('drop_last', False)}. Use a smaller "
        "train_dataloader.batch_size, or drop_last=False"
    )


def _no_sample(error: BaseException, cfg: Any) -> str | None:
    """A dataset of the MM libraries that found no samples."""
    if "need at least one array to concatenate" not in str(error):
        return None
    owners = (frame.f_locals.get("self") for frame in _frames(error.__traceback__))
    dataset = next((owner for owner in owners if hasattr(owner, "data_prefix")), None)
    if dataset is None:
        return None
    names = ("ann_file", "data_prefix", "img_suffix", "seg_map_suffix")
    told = [f"{name}={getattr(dataset, name)!r}" for name in names if getattr(dataset, name, None)]
    return (
        f"{type(dataset).__name__} has no sample: {', '.join(told)} contains none, or filter_cfg "
        "removes all. Correct these settings of the dataset"
    )


def _single_value(error: BaseException, cfg: Any) -> str | None:
    """A batch norm over a single value per channel."""
    if "Expected more than 1 value per channel when training" not in str(error):
        return None
    loader = (cfg.get("train_dataloader") if cfg is not None else None) or {}
    return (
        "batch norm after pooling requires more than one image per batch, but with "
        f"train_dataloader.batch_size={loader.get('batch_size')} the last batch has one. Set "
        "train_dataloader.drop_last=True, or another batch_size"
    )


def _innermost_build(trace: TracebackType | None) -> dict | None:
    """Config that the registry was building when the error was raised."""
    built = None
    for frame in _frames(trace):
        if frame.f_code.co_name == "build_from_cfg":
            built = frame.f_locals.get("cfg")
    return built


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _from_worker(error: BaseException) -> bool:
    return "in DataLoader worker process" in str(error)


def _text(error: BaseException) -> str:
    """Message of an error; of one from a data-loader worker, only the last line."""
    text = str(error)
    if _from_worker(error):
        return text.strip().splitlines()[-1]
    name = type(error).__name__
    if isinstance(error, KeyError):
        return f"KeyError: {text}"
    return f"{name}: {text}" if text else name
