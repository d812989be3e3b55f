"""A last batch of one image, of which a batch norm behind a pooling has no statistics."""

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
    """Say that the last batch of an epoch ends the training.

    Whether a batch norm sees one value a channel shows when an image goes through the model: it
    does so once, and only where a batch of one is to come.

    Args:
        model (nn.Module): The model.
        loop (BaseLoop): The training loop; others than those by epochs are passed over.

    Returns:
        str | None: A sentence with the settings that help; None where the training can go on, or
        it is not known.
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
        f"a batch of one image has no statistics for the batch norm behind a pooling ({names[0]}), "
        f"and train_dataloader.batch_size={size} leaves one of {count} images at the end of each "
        "epoch: set train_dataloader.drop_last=True, or another batch_size"
    )


def _batch_size(loader: Any) -> int | None:
    return loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)


def _samples_of(loader: Any) -> int | None:
    """Samples that one process takes in an epoch; None where they have no end."""
    sampler = getattr(loader.batch_sampler, "sampler", None)
    endless = hasattr(sampler, "_indices_of_rank")
    return None if endless or not hasattr(sampler, "__len__") else len(sampler)


def single_value_norms(model: nn.Module, loader: Any) -> Sequence[str]:
    """Find the batch norms that see one value a channel of an image.

    Args:
        model (nn.Module): The model; a copy of it is called.
        loader (DataLoader): The loader whose data set gives the image.

    Returns:
        Sequence[str]: Their names; none where the model cannot be called so.
    """
    if not any(map(_counts_alone, model.modules())):
        return []
    found: list[str] = []
    with preserved(), torch.no_grad():
        try:
            copy = deepcopy(model).eval()
            for name, module in copy.named_modules():
                if _counts_alone(module):
                    module.register_forward_pre_hook(_note(name, found))
            collate = getattr(loader.collate_fn, "collate_fn", loader.collate_fn)
            batch = (collate or pseudo_collate)([loader.dataset[0]])
            data = copy.data_preprocessor(batch, training=False)
            copy(**data, mode="loss") if isinstance(data, dict) else copy(*data, mode="loss")
        except Exception:  # a model that is called otherwise tells in its first epoch
            return found
    return found


def _counts_alone(module: nn.Module) -> bool:
    """Whether it is a batch norm that has the statistics of one process."""
    together = isinstance(module, nn.SyncBatchNorm) and get_world_size() > 1
    return isinstance(module, _BatchNorm) and not together


def _note(name: str, found: list[str]) -> Any:
    def note(module: nn.Module, inputs: tuple) -> None:
        values = inputs[0]
        if values.shape[0] == 1 and values.numel() == values.shape[1]:
            found.append(name)

    return note
