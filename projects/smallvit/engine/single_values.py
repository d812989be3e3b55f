"""Detect a last batch of one image, for which batch norm after pooling has no statistics."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.engine.random_states import preserved


def single_value_fault(model: nn.Module, loop: Any) -> str | None:
    """Report a last batch of an epoch that would end training with an error.

    Whether a batch norm sees a single value per channel is determined by passing one image
    through the model; this is done once, and only if a batch of one image will occur.

    Args:
        model (nn.Module): The model to be trained.
        loop (BaseLoop): The training loop; only epoch-based loops are checked.

    Returns:
        str | None: A message with the settings that help; None if training can continue, or if
        this is unknown.
    """
    if not isinstance(loop, EpochBasedTrainLoop):
        return None
    loader = loop.dataloader
    size, count = _batch_size(loader), _samples_of(loader)
    if not size or not count or (count % size if size > 1 else 1) != 1:
        return None
    if loader.drop_last or getattr(loader.batch_sampler, "drop_last", False):
        return None
    names = single_value_norms(model, loader)
    if not names:
        return None
    return (
        f"batch norm after pooling ({names[0]}) requires more than one image per batch, but with "
        f"train_dataloader.batch_size={size} the last batch of {count} images has one. Set "
        "train_dataloader.drop_last=True, or another batch_size"
    )


def _batch_size(loader: Any) -> int | None:
    return loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)


def _samples_of(loader: Any) -> int | None:
    """Samples per process and epoch; None for an endless dataset."""
    sampler = getattr(loader.batch_sampler, "sampler", None)
    endless = hasattr(sampler, "_indices_of_rank")
    return None if endless or not hasattr(sampler, "__len__") else len(sampler)


def single_value_norms(model: nn.Module, loader: Any) -> Sequence[str]:
    """Find the batch norms that see one value per channel of an image.

    Args:
        model (nn.Module): The model; a copy of it is called.
        loader (DataLoader): The loader whose dataset provides the image.

    Returns:
        Sequence[str]: Their names; empty if the model cannot be called this way.
    """
    if not any(map(_counts_alone, model.modules())):
        return []
    found: list[str] = []
    with preserved(), torch.no_grad():
        try:
            copy = deepcopy(model).eval()
            for name, module in copy.named_modules():
                if _counts_alone(module):
                    module.register_forward_pre_hook(_recorder(name, found))
            collate = getattr(loader.collate_fn, "collate_fn", loader.collate_fn)
            batch = (collate or pseudo_collate)([loader.dataset[0]])
            data = copy.data_preprocessor(batch, training=False)
            copy(**data, mode="loss") if isinstance(data, dict) else copy(*data, mode="loss")
        except Exception:  # a model with another interface fails in its first epoch at the latest
            return found
    return found


def _counts_alone(module: nn.Module) -> bool:
    """Whether a module is a batch norm without synchronized statistics."""
    together = isinstance(module, nn.SyncBatchNorm) and get_world_size() > 1
    return isinstance(module, _BatchNorm) and not together


def _recorder(name: str, found: list[str]) -> Any:
    def note(module: nn.Module, inputs: tuple) -> None:
        values = inputs[0]
        if values.shape[0] == 1 and values.numel() == values.shape[1]:
            found.append(name)

    return note
