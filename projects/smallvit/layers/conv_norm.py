"""Fusion of a convolution with the batch norm that follows it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.layers.inference import needs_intermediates

# Number of elements above which a batch norm of the map takes longer on a GPU than five kernel
# launches. Estimated, not measured: 16 MiB in half precision at 4 TB/s.
CUDA_FOLDED_MAP = 1 << 22


def fold_norm(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Compute weight and bias of a single convolution that is equivalent to ``norm(conv(x))``.

    The norm is folded in each call: this is cheap compared with the convolution, differentiable,
    and needs no state to be kept in sync with the parameters.

    Args:
        conv (nn.Conv2d): Convolution before the norm.
        norm (nn.Module): Batch norm that uses its running statistics.

    Returns:
        tuple[Tensor, Tensor]: Weight of the shape of ``conv.weight``, and bias.
    """
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    offset = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    bias = torch.addcmul(norm.bias, offset, scale, value=-1) if norm.affine else -offset * scale
    return conv.weight * scale.reshape(-1, 1, 1, 1), bias


def folding_pays(x: Tensor, conv: nn.Conv2d) -> bool:
    """Check whether folding a norm is cheaper than applying it to the feature map.

    Folding reads and writes the weight; the norm reads and writes the output. On a GPU, folding
    needs five more kernel launches than the norm, and launches dominate inference on a few images.

    Args:
        x (Tensor): Input of the convolution, (B, C, H, W).
        conv (nn.Conv2d): Convolution before the norm.

    Returns:
        bool: Whether folding is cheaper. True for symbolic sizes of a captured graph, because a
        comparison would restrict the graph to some sizes.
    """
    num_rows = x.shape[0] * x.shape[2] * x.shape[3]
    if not isinstance(num_rows, int):
        return True
    if x.is_cuda and not torch.compiler.is_compiling():
        return num_rows * conv.out_channels >= CUDA_FOLDED_MAP
    return num_rows >= conv.in_channels // conv.groups


def uses_stored_statistics(norm: nn.Module) -> bool:
    """Check whether a norm layer is a per-channel affine map independent of its input.

    Args:
        norm (nn.Module): Module to check, of any class.

    Returns:
        bool: True for a batch norm in evaluation mode with running statistics.
    """
    return isinstance(norm, _BatchNorm) and not norm.training and norm.running_var is not None


def normalize(x: Tensor, norm: nn.Module, is_free: bool = False) -> Tensor:
    """Apply a norm layer, in inference as one multiplication and addition.

    On a CPU, PyTorch's batch norm of a channels-last map takes three times as long.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        norm (nn.Module): Norm layer to apply.
        is_free (bool): Whether ``x`` has no other references and may be overwritten.
            Defaults to False.

    Returns:
        Tensor: ``norm(x)``, up to rounding.
    """
    plain = (
        needs_intermediates(norm)
        or norm._forward_pre_hooks
        or x.device.type != "cpu"
        or x.stride(1) != 1
        or not uses_stored_statistics(norm)
        or x.dtype != norm.running_var.dtype
    )
    if plain:
        return norm(x)
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.affine:
        shift = shift + norm.bias
    shape = (-1, 1, 1)
    return torch.addcmul(shift.view(shape), x, scale.view(shape), out=x if is_free else None)


def conv_norm(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Apply a convolution and a norm, folded into one convolution if that is cheaper.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        conv (nn.Conv2d): Convolution with zero padding.
        norm (nn.Module): Norm layer after the convolution.

    Returns:
        Tensor: ``norm(conv(x))``.
    """
    if not (uses_stored_statistics(norm) and folding_pays(x, conv)):
        return norm(conv(x))
    weight, bias = fold_norm(conv, norm)
    return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def pointwise_norm(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Apply a 1x1 convolution and a norm, as a matrix product over channels-last maps.

    Args:
        x (Tensor): Feature map (B, C, H, W), copied unless it is in channels-last memory format.
        conv (nn.Conv2d): 1x1 convolution with stride 1 and without groups.
        norm (nn.Module): Norm layer after the convolution.

    Returns:
        Tensor: ``norm(conv(x))``, in channels-last memory format.
    """
    folded = uses_stored_statistics(norm) and folding_pays(x, conv)
    weight, bias = fold_norm(conv, norm) if folded else (conv.weight, conv.bias)
    # One matrix product needs contiguous memory; a slice of the tokens is not contiguous.
    rows = x.permute(0, 2, 3, 1).contiguous()
    out = F.linear(rows, weight.flatten(1), bias).permute(0, 3, 1, 2)
    return out if folded else norm(out)
