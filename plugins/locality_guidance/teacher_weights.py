"""Load the weights of a teacher from checkpoints of smallvit, MMPretrain, timm and others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.engine.timm_files import as_timm_reads, timm_network
from smallvit.errors import CheckpointError


def load_weights(network: nn.Module, path: str, name: str) -> None:
    """Load a checkpoint into a teacher's network.

    Args:
        network (nn.Module): A backbone, or a classifier.
        path (str): Path of the checkpoint. For a network of timm it may be any file that timm
            can load, such as the official ones of DINOv2, DINOv3 and ConvNeXt.
        name (str): Name of the teacher, for errors.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or is of another network.
    """
    try:
        checkpoint = load_from_local(path, map_location="cpu")
    except CheckpointError as error:
        raise CheckpointError(
            f"teacher of the guidance: {error}. Train the teacher, or set "
            "guidance.teacher.checkpoint to the path of its checkpoint"
        ) from error
    state = checkpoint.get("state_dict", checkpoint)
    own = network.state_dict()
    if not hasattr(network, "backbone"):
        state = _without_the_rest(own, state)
    wrong = _differences(own, state)
    inner = timm_network(network)
    if wrong and inner is not None:
        found = as_timm_reads(inner, checkpoint.get("state_dict", checkpoint), path)
        state = _without_the_rest(own, found)
        wrong = _differences(own, state)
    if wrong:
        raise CheckpointError(
            f"{path} is not a checkpoint of the teacher {name}: {wrong}. Set "
            "guidance.teacher.model to its training config (convert official files with "
            "tools/model_converters/convert.py first)"
        )
    network.load_state_dict(state)


def weights_sha256(network: nn.Module) -> str:
    """Compute the SHA-256 of weights that were not loaded from a user's file.

    Args:
        network (nn.Module): Network with loaded weights.

    Returns:
        str: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy())
    return digest.hexdigest()


def _without_the_rest(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """Select the backbone's entries of a classifier's or timm's state dict, with its own names."""
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    state |= {f"timm_model.{key}": value for key, value in state.items()}
    return {key: value for key, value in state.items() if key in own}


def _differences(own: Mapping[str, Tensor], found: Mapping[str, Any], shown: int = 3) -> str:
    missing = [key for key in own if key not in found]
    strange = [key for key in found if key not in own]
    sizes = [
        f"expected {key} of shape {tuple(value.shape)}, got {tuple(found[key].shape)}"
        for key, value in own.items()
        if key in found and found[key].shape != value.shape
    ]
    parts = [
        f"{title} {', '.join(names[:shown])}" + (" ..." if len(names) > shown else "")
        for title, names in (("sizes differ:", sizes), ("missing", missing), ("unknown", strange))
        if names
    ]
    return "; ".join(parts)
