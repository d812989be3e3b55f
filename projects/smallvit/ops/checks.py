"""Shape and dtype checks of the operators, and their autocast."""

import torch
from torch import Tensor

__all__ = ["autocast_together", "check_bias", "check_kernel_size", "check_pair"]


def check_pair(op: str, x: Tensor, weight: Tensor, weight_ndim: int, layout: str) -> None:
    """Check the properties that all pairs of feature map and kernels must have.

    Args:
        op (str): Name of the operator, for the message.
        x (Tensor): Feature map.
        weight (Tensor): Kernels.
        weight_ndim (int): Number of axes that the kernels must have.
        layout (str): The shape of the kernels as the operator documents it.

    Raises:
        ValueError: If a rank or the batch is wrong.
        TypeError: If the two differ in dtype or the dtype is not a real floating-point one.
    """
    if x.ndim != 4:
        raise ValueError(f"{op}: x must be (B, C, H, W), got shape {tuple(x.shape)}")
    if weight.ndim != weight_ndim:
        raise ValueError(f"{op}: weight must be {layout}, got shape {tuple(weight.shape)}")
    if weight.shape[0] != x.shape[0]:
        raise ValueError(
            f"{op}: weight has kernels for {weight.shape[0]} samples, x has {x.shape[0]}; "
            "every sample brings its own"
        )
    if x.dtype != weight.dtype:
        raise TypeError(
            f"{op}: x is {x.dtype} but weight is {weight.dtype}; cast one of them, "
            "or run under torch.autocast, which casts both"
        )
    if not x.dtype.is_floating_point:
        raise TypeError(f"{op}: x must be floating point, got {x.dtype}")


def check_kernel_size(op: str, height: int, width: int) -> None:
    """Check that a kernel is square and odd, so that zero padding preserves the map's size.

    Args:
        op (str): Name of the operator, for the message.
        height (int): Rows of the kernel.
        width (int): Columns of the kernel.

    Raises:
        ValueError: If it is not.
    """
    if height != width or height % 2 == 0:
        raise ValueError(f"{op}: kernels must be square and odd, got {height}x{width}")


def check_bias(op: str, bias: Tensor | None, channels: int) -> None:
    """Check that the bias, if given, has one value per channel.

    Args:
        op (str): Name of the operator, for the message.
        bias (Tensor, optional): The bias.
        channels (int): Channels of the feature map.

    Raises:
        ValueError: If it has another shape.
    """
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != channels):
        raise ValueError(f"{op}: bias must be ({channels},), got shape {tuple(bias.shape)}")


def autocast_together(x: Tensor, *others: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast tensors as ``torch.autocast`` does before a convolution.

    Outside an autocast region, and for float64 as in torch itself, nothing changes.

    Args:
        x (Tensor): The tensor whose device's autocast state counts.
        *others (Tensor, optional): Tensors that go with it.

    Returns:
        tuple[Tensor | None, ...]: ``x`` and the others, cast.
    """
    device = x.device.type
    if x.is_meta or not torch.is_autocast_enabled(device):
        return x, *others
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        t.to(dtype) if t is not None and t.is_floating_point() and t.dtype != torch.float64 else t
        for t in (x, *others)
    )
