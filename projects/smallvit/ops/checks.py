"""Shape and dtype checks of the operators, and their autocast."""

import torch
from torch import Tensor

__all__ = ["autocast_together", "check_bias", "check_kernel_size", "check_pair"]


def check_pair(op: str, x: Tensor, weight: Tensor, weight_ndim: int, layout: str) -> None:
    """Check the properties that all pairs of feature map and kernels must have.

    Args:
        op (str): Name of the operator, for error messages.
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels, batch axis first.
        weight_ndim (int): Required number of axes of the kernels.
        layout (str): Documented shape of the kernels, for error messages.

    Raises:
        ValueError: If a number of axes is wrong, or the batch sizes differ.
        TypeError: If the dtypes differ, or are not real floating-point types.
    """
    if x.ndim != 4:
        raise ValueError(f"{op}: expected x of shape (B, C, H, W), got {tuple(x.shape)}")
    if weight.ndim != weight_ndim:
        raise ValueError(f"{op}: expected weight of shape {layout}, got {tuple(weight.shape)}")
    if weight.shape[0] != x.shape[0]:
        raise ValueError(
            f"{op}: expected weight with a kernel for each of the {x.shape[0]} samples of x, got "
            f"{weight.shape[0]}"
        )
    if x.dtype != weight.dtype:
        raise TypeError(
            f"{op}: expected x and weight of the same dtype, got {x.dtype} and {weight.dtype}. "
            "Cast one of them, or use torch.autocast"
        )
    if not x.dtype.is_floating_point:
        raise TypeError(f"{op}: expected x to be floating point, got {x.dtype}")


def check_kernel_size(op: str, height: int, width: int) -> None:
    """Check that a kernel is square and odd, so that zero padding preserves the map's size.

    Args:
        op (str): Name of the operator, for error messages.
        height (int): Number of rows of the kernel.
        width (int): Number of columns of the kernel.

    Raises:
        ValueError: If the kernel is not square and odd.
    """
    if height != width or height % 2 == 0:
        raise ValueError(f"{op}: expected square kernels of odd size, got {height}x{width}")


def check_bias(op: str, bias: Tensor | None, channels: int) -> None:
    """Check that the bias, if given, has one value per channel.

    Args:
        op (str): Name of the operator, for error messages.
        bias (Tensor, optional): Tensor to check, or None.
        channels (int): Channels of the feature map.

    Raises:
        ValueError: If the shape is not ``(channels,)``.
    """
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != channels):
        raise ValueError(f"{op}: expected bias of shape ({channels},), got {tuple(bias.shape)}")


def autocast_together(x: Tensor, *others: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast tensors as ``torch.autocast`` does before a convolution.

    Outside an autocast region, and for float64 as in torch itself, nothing changes.

    Args:
        x (Tensor): Tensor whose device determines the autocast state.
        *others (Tensor, optional): Further tensors to cast.

    Returns:
        tuple[Tensor | None, ...]: ``x`` and the other tensors in the autocast dtype.
    """
    device = x.device.type
    if x.is_meta or not torch.is_autocast_enabled(device):
        return x, *others
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        t.to(dtype) if t is not None and t.is_floating_point() and t.dtype != torch.float64 else t
        for t in (x, *others)
    )
