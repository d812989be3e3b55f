"""Helpers of the attention initializers: initialization order and near-identity products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts import AttentionProjections, Projection
from smallvit.plugins.initialization.final import initialize_children, loads_weights, note


@contextmanager
def last_of_all(name: str, model: nn.Module) -> Iterator[nn.Module]:
    """Initialize the submodules of a model, then yield its backbone to be filled.

    Args:
        name (str): Name of the initializer, for errors.
        model (nn.Module): Module to which the ``init_cfg`` belongs.

    Yields:
        nn.Module: The backbone, with gradients disabled.

    Raises:
        ValueError: If the backbone would be initialized again later, or loads a checkpoint.
    """
    backbone = next(
        (getattr(model, key) for key in ("backbone", "model") if hasattr(model, key)), model
    )
    if backbone is model and _initializes_itself(model):
        raise ValueError(
            f"{name} must be set for the model instead of the backbone, because "
            f"{type(model).__name__} runs its own initialization afterwards. Set "
            f'model.init_cfg = dict(type="smallvit.{name}")'
        )
    initialize_children(model)
    if any(map(loads_weights, backbone.modules())):
        raise ValueError(
            f"{name} would overwrite the weights that {type(backbone).__name__} loads (init_cfg of "
            'type "Pretrained"). Remove one of the two'
        )
    with torch.no_grad():
        yield backbone
    note(model, name)


def _initializes_itself(model: nn.Module) -> bool:
    own = getattr(type(model), "init_weights", BaseModule.init_weights)
    # Within FinalInit its own initialization has already run.
    return own is not BaseModule.init_weights and not getattr(model, "is_init", True)


def near_identity(channels: int, noise: float, identity: float) -> tuple[Tensor, Tensor]:
    """Draw two square matrices whose product is near a multiple of the identity.

    Args:
        channels (int): Number of rows and columns.
        noise (float): Factor of ``Z``, a matrix of normal numbers with variance
            ``1 / channels``.
        identity (float): Factor of the identity matrix ``I``.

    Returns:
        tuple[Tensor, Tensor]: ``left`` and ``right``, whose product ``left @ right`` is
        ``noise * Z + identity * I``. The first columns of ``left`` and rows of ``right``
        correspond to the largest singular values of the product.
    """
    product = noise * torch.randn(channels, channels) / channels**0.5
    product += identity * torch.eye(channels)
    left, values, right = torch.linalg.svd(product)
    return left * values.sqrt(), values.sqrt()[:, None] * right


def fill_output(attention: AttentionProjections, noise: float, identity: float) -> None:
    """Fill value and output weights so that their product is near the negative identity.

    Args:
        attention (AttentionProjections): Projections to fill in place.
        noise (float): Factor of the random matrix.
        identity (float): Factor of the negative identity.

    Raises:
        HostError: If the weights are not square.
    """
    output, value = attention.output.weight, attention.value.weight
    if output.shape != value.shape or output.shape[0] != output.shape[1]:
        raise HostError(
            f"{type(attention.module).__name__}: expected square value and output weights, whose "
            f"product is close to the identity, got {tuple(value.shape)} and {tuple(output.shape)}"
        )
    left, right = near_identity(value.shape[1], noise, -identity)
    output.copy_(left)
    value.copy_(right)
    zero_bias(attention.value, attention.output)


def zero_bias(*projections: Projection) -> None:
    """Set biases to zero.

    Args:
        *projections (Projection): Changed in place; those without a bias are skipped.
    """
    for projection in projections:
        if projection.bias is not None:
            projection.bias.zero_()
