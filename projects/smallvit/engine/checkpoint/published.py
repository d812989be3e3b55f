"""Models that others published: ``hf://OWNER/NAME`` of Hugging Face, or a folder of that form."""

from __future__ import annotations

import os.path as osp
from importlib import import_module
from types import ModuleType

from smallvit.errors import CheckpointError, UserError

WEIGHTS = "model.safetensors"
#: What a model on the hub is named by; ``@REVISION`` may follow.
SCHEME = "hf://"


def is_published(name: str) -> bool:
    """Tell whether a name is of a published model.

    Args:
        name (str): What is given as a checkpoint.

    Returns:
        bool: Whether it is an address of the hub, or a folder with weights.
    """
    return name.startswith(SCHEME) or osp.isfile(osp.join(name, WEIGHTS))


def huggingface_hub() -> ModuleType:
    """Import the library of the hub.

    Returns:
        ModuleType: It.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise UserError(
            "models of the hub need huggingface_hub, which is not installed: pip install "
            "'smallvit[hub]'"
        ) from None


def find_published(name: str) -> str:
    """Find the weights of a published model; fetch them from the hub, once.

    Args:
        name (str): ``hf://OWNER/NAME[@REVISION]``, or a folder.

    Returns:
        str: Path of the file.

    Raises:
        CheckpointError: If there is no such model.
    """
    if not name.startswith(SCHEME):
        path = osp.join(name, WEIGHTS)
        if not osp.isfile(path):
            raise CheckpointError(f"{name} is a folder without {WEIGHTS}: no published model")
        return path
    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    try:
        return huggingface_hub().hf_hub_download(repository, WEIGHTS, revision=revision or None)
    except UserError:
        raise
    except Exception as error:  # of the network, of the hub, of names
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{name}: {reason}") from error
