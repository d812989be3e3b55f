"""Effect of half precision on the gradient of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from smallvit.analysis.fake_data import fake_batch
from smallvit.analysis.recipe.report import quiet
from smallvit.analysis.recipe.weights import build_network

#: Dtypes that are compared with float32, by name.
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
#: Loss scale that keeps small gradients from underflowing in float16.
SCALE = 1024.0


def compare_precisions(
    cfg: Config, shape: tuple[int, int], batch_size: int = 2, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Compute the gradient of one random batch on a CPU, with autocast and in float32.

    Args:
        cfg (Config): Config of any task.
        shape (tuple[int, int]): Height and width of the images.
        batch_size (int): Number of images. Defaults to 2.
        seed (int): Seed of the initial weights, the images and random operations of the network.
            Defaults to 0.

    Returns:
        dict[str, dict[str, float]]: For ``bfloat16`` and ``float16``, the relative differences of
        the ``loss`` and the ``gradient`` (norm of the difference over norm) from float32.
    """
    with quiet():
        model = revert_sync_batchnorm(build_network(cfg, seed)).train()
    np.random.seed(seed)  # for the mixing of images
    batch = model.data_preprocessor(fake_batch(model, shape, batch_size, seed), training=True)
    loss, gradient = _gradient(model, batch, None, seed)
    found = {}
    for name, dtype in TYPES.items():
        other_loss, other = _gradient(model, batch, dtype, seed)
        found[name] = {
            "loss": abs(other_loss - loss) / abs(loss),
            "gradient": ((other - gradient).norm() / gradient.norm()).item(),
        }
    return found


def _gradient(
    model: nn.Module, batch: dict[str, Any], dtype: torch.dtype | None, seed: int
) -> tuple[float, Tensor]:
    torch.manual_seed(seed)
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        losses = model(**batch, mode="loss")
    loss = model.parse_losses(losses)[0].float()
    (loss * SCALE).backward()
    parts = [p.grad.double().flatten() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(parts) / SCALE
