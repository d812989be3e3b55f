"""Checkpoint reading without code execution."""

from __future__ import annotations

import io
import itertools
import os
import os.path as osp
import pickle
import pickletools
import zipfile
from contextlib import suppress
from typing import Any, BinaryIO

import torch
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from smallvit.compat import model_zoos
from smallvit.engine.checkpoint import older_formats
from smallvit.engine.checkpoint.digests import check_digest
from smallvit.engine.checkpoint.downloads import download, forget
from smallvit.engine.checkpoint.formats import read_safetensors
from smallvit.engine.checkpoint.mmengine_pickles import stand_ins, to_values
from smallvit.engine.checkpoint.official import load_official, split_official
from smallvit.engine.checkpoint.pickle_names import OF_MMENGINE, is_known
from smallvit.engine.checkpoint.pickle_scan import full_name, scan
from smallvit.engine.checkpoint.published import find_published, is_published
from smallvit.engine.checkpoint.shadows import Refused
from smallvit.engine.checkpoint.zip_checks import check_archive, check_crcs, is_archive, records_of
from smallvit.errors import CheckpointError

#: Exceptions that torch raises for damaged files, depending on where the damage is.
DAMAGE = (
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
)
HINT = "(--trust-checkpoint loads it anyway and runs any code that it contains)"
_PICKLE_LIMIT = 64 << 20
#: First pickles of torch's legacy format (before 1.6): this magic number, the format version, the
#: machine, the checkpoint, and the keys of its storages.
_LEGACY_MAGIC, _LEGACY_PICKLES = 0x1950A86A20F9469CFC6C, 5

_settings = {"trusted": False, "check_crcs": True}


def trust_checkpoints(trusted: bool = True, check_crcs: bool = True) -> None:
    """Set how this process reads checkpoints.

    Args:
        trusted (bool): Unpickle them in full, which runs any code they contain. Defaults to True.
        check_crcs (bool): Whether to verify the CRCs of archives; False is for files that were
            written without CRCs. Defaults to True.
    """
    _settings.update(trusted=trusted, check_crcs=check_crcs)


def are_trusted() -> bool:
    """Check whether this process unpickles checkpoints in full.

    Returns:
        bool: The value set by :func:`trust_checkpoints`.
    """
    return _settings["trusted"]


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Read a local checkpoint without running any code in it.

    Supported are tensors and plain values, in torch's format or as safetensors, and what
    MMEngine adds to its checkpoints.

    Args:
        filename (str): Path of the checkpoint.
        map_location (Any): See :func:`torch.load`. Defaults to None.

    Returns:
        dict: Content of the checkpoint.

    Raises:
        CheckpointError: If the file is missing, damaged, or contains more than tensors and
            plain values.
    """
    path = require_checkpoint(filename)
    if split_official(path) is not None:
        return load_from_official(path, map_location)
    try:
        if path.endswith(".safetensors"):
            return read_safetensors(path, map_location)
        _check_intact(path)
        if _settings["trusted"]:
            return torch.load(path, map_location=map_location, weights_only=False)
        return _without_programs(_require_form(_read_plain(path, map_location), path), path)
    except pickle.UnpicklingError as error:
        raise _refusal(filename, path, error) from error
    except ImportError as error:
        raise CheckpointError(
            f"{filename}: its pickled objects require the module {error.name!r}. Install it (pip "
            f"install {error.name})"
        ) from error
    except DAMAGE as error:
        _refuse_by_name(filename, path, error)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{filename}: damaged or not a checkpoint ({reason})") from error


def _check_intact(path: str) -> None:
    if not is_archive(path):
        check_digest(path)
        return
    check_archive(path)
    if _settings["check_crcs"]:
        check_crcs(path)


def _read_plain(path: str, map_location: Any) -> dict:
    names = _scan(path)
    if not names & OF_MMENGINE:
        return torch.load(path, map_location=map_location, weights_only=True)
    with stand_ins():
        return to_values(torch.load(path, map_location=map_location, weights_only=True))


def _scan(path: str) -> set[str]:
    """Scan all pickles that torch would read, and return the names that they refer to."""
    size = osp.getsize(path)
    if is_archive(path):
        return scan(_pickle_of(path), size, records_of(path))
    with open(path, "rb") as file:
        if not _is_legacy(file):
            raise pickle.UnpicklingError("neither an archive nor in torch's format before 1.6")
        return set().union(*(scan(file, size) for _ in range(_LEGACY_PICKLES)))


def _is_legacy(file: BinaryIO) -> bool:
    found = [argument for _, argument, _ in itertools.islice(pickletools.genops(file), 2)]
    file.seek(0)
    return found[1:] == [_LEGACY_MAGIC]


def _refusal(filename: str, path: str, error: pickle.UnpicklingError) -> CheckpointError:
    named = globals_of(path)
    if named:
        return CheckpointError(
            f"{filename}: contains {', '.join(named)}, not only tensors and plain values; not "
            f"loaded because such content can run code {HINT}"
        )
    if isinstance(error, Refused):
        return CheckpointError(f"{filename}: {error}; damaged or manipulated, not loaded")
    _refuse_by_name(filename, path, error)
    return CheckpointError(f"{filename}: damaged or not a checkpoint")


def _refuse_by_name(filename: str, path: str, error: Exception) -> None:
    with suppress(OSError, MemoryError):
        kind = None if is_archive(path) else older_formats.name_of(path)
        if kind is not None:
            raise CheckpointError(
                f"{filename}: expected a checkpoint of torch, got {kind}"
            ) from error


def _require_form(checkpoint: Any, path: str) -> dict:
    """Check that weights and their names have the form that readers of checkpoints expect."""
    parts = {"": checkpoint}
    if isinstance(checkpoint, dict):
        parts |= {name: checkpoint[name] for name in ("state_dict", "meta") if name in checkpoint}
    for name, part in parts.items():
        if not isinstance(part, dict) and not (name == "meta" and part is None):
            found = f"its {name} is of type {type(part).__name__}" if name else "it is not a dict"
            raise CheckpointError(f"{path}: not a checkpoint: {found}")
    if not all(isinstance(name, str) for name in checkpoint.get("state_dict", ())):
        raise CheckpointError(f"{path}: not a checkpoint: names of its weights are not strings")
    return checkpoint


def _without_programs(checkpoint: dict, path: str) -> dict:
    """Remove entries that MMEngine's ``Runner.resume`` would execute."""
    meta = checkpoint.get("meta")
    if isinstance(meta, dict) and meta.pop("config", None) is not None:
        print_log(
            f"{path}: ignored its meta['config'], which MMEngine would execute as code",
            logger="current",
            level=30,
        )
    return checkpoint


def globals_of(path: str, shown: int = 4) -> list[str]:
    """List the names that a pickle would call, without unpickling it.

    Args:
        path (str): Path of the checkpoint.
        shown (int): Maximum number of names. Defaults to 4.

    Returns:
        list[str]: Names such as "os.system", without those that plain checkpoints use.
    """
    names: dict[str, None] = {}
    with suppress(*DAMAGE, UnicodeDecodeError):  # report the names found before the damage
        file, pickles = _pickles_of(path)
        for _ in range(pickles):
            _collect_names(file, names)
    return [name for name in names if not is_known(name)][:shown]


def _collect_names(file: BinaryIO, names: dict[str, None]) -> None:
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            names[full_name(argument)] = None
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            names[".".join(strings[-2:])] = None
        elif isinstance(argument, str):
            strings.append(argument)


def _pickle_of(path: str) -> BinaryIO:
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{archive.namelist()[0].partition('/')[0]}/data.pkl")
        if entry.file_size > _PICKLE_LIMIT:
            raise Refused(
                f"has a pickle above {_PICKLE_LIMIT >> 20} MiB in addition to its tensors"
            )
        del entry.CRC  # already checked, or disabled by the user
        return io.BytesIO(archive.read(entry))


def _pickles_of(path: str) -> tuple[BinaryIO, int]:
    if is_archive(path):
        return _pickle_of(path), 1
    with open(path, "rb") as file:
        content = io.BytesIO(file.read(_PICKLE_LIMIT))
    try:
        return content, _LEGACY_PICKLES if _is_legacy(content) else 1
    finally:
        content.seek(0)


def require_checkpoint(filename: str) -> str:
    """Check that a local checkpoint exists.

    Args:
        filename (str): A path; ``~`` is the home folder.

    Returns:
        str: The expanded path; the name of an official checkpoint is returned unchanged.

    Raises:
        CheckpointError: If there is no such file.
    """
    official = split_official(os.fspath(filename))
    if official is not None:
        if "://" not in official[1]:
            require_checkpoint(official[1])
        return os.fspath(filename)
    path = osp.expanduser(os.fspath(filename))
    if osp.isfile(path):
        return path
    folder = osp.dirname(path) or "."
    there = (
        sorted(name for name in os.listdir(folder) if name.endswith((".pth", ".safetensors")))
        if osp.isdir(folder)
        else []
    )
    hint = f"; that folder has {', '.join(there[:5])}" if there else ""
    raise CheckpointError(f"no such checkpoint: {filename}{hint}")


def load_from_http(
    filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = True
) -> dict:
    """Download a checkpoint unless it is cached, and read it like a local one.

    Args:
        filename (str): URL of the checkpoint.
        map_location (Any): See :func:`torch.load`. Defaults to None.
        model_dir (str, optional): Cache folder. Defaults to None, torch's cache.
        progress (bool): Show a progress bar. Defaults to True.

    Returns:
        dict: Content of the checkpoint.
    """
    rank, processes = get_dist_info()
    if rank == 0:
        path = download(filename, model_dir, progress)
    if processes > 1:
        torch.distributed.barrier()
        if rank > 0:  # on nodes that do not share a disk
            path = download(filename, model_dir, progress)
    try:
        return load_from_local(path, map_location)
    except CheckpointError:
        forget(path)  # a file that was truncated by a server without lengths is fetched again
        raise


def read_checkpoint(filename: str | os.PathLike, map_location: Any = "cpu") -> dict:
    """Read a checkpoint from a file or URL without running any code in it.

    Args:
        filename (str | os.PathLike): A path, or a URL of a scheme that MMEngine supports.
        map_location (Any): See :func:`torch.load`. Defaults to "cpu".

    Returns:
        dict: Content of the checkpoint.

    Raises:
        CheckpointError: See :func:`load_from_local`.
    """
    filename = os.fspath(filename)
    if split_official(filename) is not None:
        return load_from_official(filename, map_location)
    if is_published(filename):
        return load_from_local(find_published(filename), map_location)
    if "://" not in filename:
        return load_from_local(filename, map_location)
    if filename.startswith(("http://", "https://")):
        return load_from_http(filename, map_location)
    return CheckpointLoader.load_checkpoint(filename, map_location)


def load_from_official(filename: str, map_location: Any = None) -> dict:
    """Load an official checkpoint, converted to smallvit's names; see :mod:`.official`.

    Args:
        filename (str): A system and a path or URL, such as ``dwnet::dwnet_tiny.pth``.
        map_location (Any): See :func:`torch.load`. Defaults to None.

    Returns:
        dict: Checkpoint with ``state_dict``.

    Raises:
        CheckpointError: If it is missing, damaged, or not a checkpoint of the system.
    """
    _, place = split_official(filename)
    if place.startswith(("http://", "https://")):
        path = download(place)
    else:
        path = require_checkpoint(place)
    return load_official(filename, path, load_from_local, map_location)


def install() -> None:
    """Register the functions here as MMEngine's checkpoint loaders for all callers."""
    register = CheckpointLoader.register_scheme
    register(prefixes="", loader=load_from_local, force=True)
    register(prefixes=("http://", "https://"), loader=load_from_http, force=True)
    model_zoos.install(load_from_http, load_from_local)
