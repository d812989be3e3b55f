"""Published models: ``hf://OWNER/NAME`` on the Hugging Face Hub, or a folder in that layout."""

from __future__ import annotations

import os.path as osp
from importlib import import_module
from types import ModuleType

from smallvit.errors import CheckpointError, UserError

WEIGHTS = "model.safetensors"
#: Pattern of a model's address on the Hub; ``@REVISION`` may follow.
SCHEME = "hf://"


def is_published(name: str) -> bool:
    """Check whether a name refers to a published model.

    Args:
        name (str): Value of a checkpoint argument.

    Returns:
        bool: Whether it is an address on the Hub, or a folder with weights.
    """
    return name.startswith(SCHEME) or osp.isfile(osp.join(name, WEIGHTS))


def huggingface_hub() -> ModuleType:
    """Import ``huggingface_hub``.

    Returns:
        ModuleType: Imported package.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise UserError(
            "models of the hub require huggingface_hub, which is not installed: pip install "
            "'smallvit[hub]'"
        ) from None


def find_published(name: str) -> str:
    """Find the weights of a published model, downloading them from the Hub if necessary.

    Args:
        name (str): ``hf://OWNER/NAME[@REVISION]``, or a folder.

    Returns:
        str: Path of the weights file.

    Raises:
        CheckpointError: If there is no such model.
    """
    if not name.startswith(SCHEME):
        path = osp.join(name, WEIGHTS)
        if not osp.isfile(path):
            raise CheckpointError(f"{name} is not a published model: the folder has no {WEIGHTS}")
        return path
    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    try:
        return huggingface_hub().hf_hub_download(repository, WEIGHTS, revision=revision or None)
    except UserError:
        raise
    except Exception as error:  # network errors, Hub errors, invalid names
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{name}: {reason}") from error
