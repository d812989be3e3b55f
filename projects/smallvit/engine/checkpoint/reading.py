"""Reading weights from outside without executing anything that they say."""

from __future__ import annotations

import os
import os.path as osp
import pickle
import pickletools
import zipfile
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.runner import CheckpointLoader
from mmengine.utils import mkdir_or_exist

from smallvit.compat import model_zoos
from smallvit.engine.checkpoint.formats import check_archive, read_safetensors
from smallvit.engine.checkpoint.mmengine_pickles import read_mmengine
from smallvit.errors import CheckpointError

#: What torch raises on bytes that are no checkpoint, depending on where they go wrong.
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
HINT = "(--trust-checkpoint loads it nevertheless, and runs whatever code it holds)"
_PICKLE_LIMIT = 64 << 20

_trust = {"all": False}


def trust_checkpoints(trusted: bool = True) -> None:
    """Load checkpoints with all that they hold, code included, or stop doing so.

    Args:
        trusted (bool): Whether the checkpoints of this process come from a source that
            may run code. Defaults to True.
    """
    _trust["all"] = trusted


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Read a local checkpoint without executing anything that it says.

    Tensors and plain values are read, in torch's format or as safetensors, and what
    MMEngine adds to its checkpoints.

    Args:
        filename (str): Path of the checkpoint.
        map_location (Any): As for :func:`torch.load`. Defaults to None.

    Returns:
        dict: The checkpoint.

    Raises:
        CheckpointError: If the file is missing, damaged or holds more than tensors and
            plain values.
    """
    path = require_checkpoint(filename)
    try:
        if path.endswith(".safetensors"):
            return read_safetensors(path, map_location)
        if _trust["all"]:
            return torch.load(path, map_location=map_location, weights_only=False)
        check_archive(path)
        return _read_plain(path, map_location)
    except pickle.UnpicklingError as error:
        named = globals_of(path)
        if not named:
            raise CheckpointError(f"{filename}: damaged or not a checkpoint") from error
        raise CheckpointError(
            f"{filename}: holds {', '.join(named)} and not only tensors and plain values; it was "
            f"not loaded, because such content can run code {HINT}"
        ) from error
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{filename}: damaged or not a checkpoint ({reason})") from error


def _read_plain(path: str, map_location: Any) -> dict:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        if not zipfile.is_zipfile(path):
            raise
        return read_mmengine(path, map_location)


def globals_of(path: str, shown: int = 4) -> list[str]:
    """Name what a pickle would call, without reading it as one.

    Args:
        path (str): A checkpoint.
        shown (int): Names to return at most. Defaults to 4.

    Returns:
        list[str]: Names such as "os.system", those that a plain checkpoint has left out.
    """
    names: dict[str, None] = {}
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(_pickle_of(path)):
            if opcode.name in ("GLOBAL", "INST"):
                names[argument.replace(" ", ".")] = None
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                names[".".join(strings[-2:])] = None
            elif isinstance(argument, str):
                strings.append(argument)
    except (*DAMAGE, UnicodeDecodeError):
        pass  # what was found up to the damage is named
    harmless = ("torch.", "collections.OrderedDict", "numpy.", "_codecs.encode")
    return [name for name in names if not name.startswith(harmless)][:shown]


def _pickle_of(path: str) -> bytes:
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return file.read(_PICKLE_LIMIT)
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
        if name is None:
            return b""
        with archive.open(name) as file:
            return file.read(_PICKLE_LIMIT)


def require_checkpoint(filename: str) -> str:
    """Check that a local checkpoint is there.

    Args:
        filename (str): A path; ``~`` is the home folder.

    Returns:
        str: The expanded path.

    Raises:
        CheckpointError: If there is no such file.
    """
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
    """Download a checkpoint, once, and read it like a local one.

    Args:
        filename (str): The address.
        map_location (Any): As for :func:`torch.load`. Defaults to None.
        model_dir (str, optional): Where to keep it. Defaults to None, torch's cache.
        progress (bool): Show a progress bar. Defaults to True.

    Returns:
        dict: The checkpoint.
    """
    folder = model_dir or osp.join(torch.hub.get_dir(), "checkpoints")
    path = osp.join(folder, osp.basename(filename.partition("?")[0]))
    rank, processes = get_dist_info()
    if rank == 0:
        _download(filename, path, progress)
    if processes > 1:
        torch.distributed.barrier()
        _download(filename, path, progress)  # on nodes that do not share the disk
    return load_from_local(path, map_location)


def _download(url: str, path: str, progress: bool) -> None:
    if not osp.exists(path):
        mkdir_or_exist(osp.dirname(path))
        torch.hub.download_url_to_file(url, path, progress=progress)


def install() -> None:
    """Let MMEngine load checkpoints, whatever asks for one, with the functions here."""
    register = CheckpointLoader.register_scheme
    register(prefixes="", loader=load_from_local, force=True)
    register(prefixes=("http://", "https://"), loader=load_from_http, force=True)
    model_zoos.install(load_from_http)
