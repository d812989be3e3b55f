"""Fusion of a convolution with the batch norm that follows it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.layers.inference import looks_back

# Number of elements above which a batch norm of the map takes a GPU longer than five launches:
# by estimate, 16 MiB in half precision at 4 TB/s. Not measured.
CUDA_FOLDED_MAP = 1 << 22


def fold_norm(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a single convolution that is equivalent to ``norm(conv(x))``.

    The folding happens in each call: it is cheap beside the convolution, gradients flow
    through it, and no state has to follow the parameters.

    Args:
        conv (nn.Conv2d): A convolution.
        norm (nn.Module): A batch norm that uses its stored statistics.

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
    """Whether folding a norm is cheaper than applying it to the map.

    Folding passes over the weight, norming over the output. On a GPU folding a weight takes five
    launches more than norming, which is what inference of a few images consists of.

    Args:
        x (Tensor): Input of the convolution, (B, C, H, W).
        conv (nn.Conv2d): A convolution.

    Returns:
        bool: True where folding pays, and for sizes that a captured graph leaves free, because it
        would hold for those of one kind alone.
    """
    num_rows = x.shape[0] * x.shape[2] * x.shape[3]
    if not isinstance(num_rows, int):
        return True
    if x.is_cuda and not torch.compiler.is_compiling():
        return num_rows * conv.out_channels >= CUDA_FOLDED_MAP
    return num_rows >= conv.in_channels // conv.groups


def uses_stored_statistics(norm: nn.Module) -> bool:
    """Whether a norm layer is a per-channel affine map that does not depend on its input.

    Args:
        norm (nn.Module): Any module.

    Returns:
        bool: True for a batch norm in evaluation mode with running statistics.
    """
    return isinstance(norm, _BatchNorm) and not norm.training and norm.running_var is not None


def normalize(x: Tensor, norm: nn.Module, is_free: bool = False) -> Tensor:
    """Normalize a map; in inference with one multiplication and addition.

    On a CPU, PyTorch's batch norm of a channels-last map takes three times as long.

    Args:
        x (Tensor): A map, (B, C, H, W).
        norm (nn.Module): A norm layer.
        is_free (bool): Whether nobody else holds ``x``, whose memory may then be written again.
            Defaults to False.

    Returns:
        Tensor: ``norm(x)``, up to rounding.
    """
    plain = (
        looks_back(norm)
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
    """Apply a convolution and a norm.

    Args:
        x (Tensor): A map, (B, C, H, W).
        conv (nn.Conv2d): A convolution with zero padding.
        norm (nn.Module): A norm layer.

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
        x (Tensor): A map, (B, C, H, W), copied unless it is in channels-last memory format.
        conv (nn.Conv2d): A 1x1 convolution, stride 1, no groups.
        norm (nn.Module): A norm layer.

    Returns:
        Tensor: ``norm(conv(x))``, in channels-last memory format.
    """
    folded = uses_stored_statistics(norm) and folding_pays(x, conv)
    weight, bias = fold_norm(conv, norm) if folded else (conv.weight, conv.bias)
    # One matrix product needs contiguous memory; a slice of the tokens is not contiguous.
    rows = x.permute(0, 2, 3, 1).contiguous()
    out = F.linear(rows, weight.flatten(1), bias).permute(0, 3, 1, 2)
    return out if folded else norm(out)
