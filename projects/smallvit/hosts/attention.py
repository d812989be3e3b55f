"""Query, key, value and output weights of a block's attention, from joint or separate layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.adapters import Adapters, full_name
from smallvit.hosts.rest import own_modules

_ATTENTION = Adapters("supported attention", "smallvit.hosts.register_attention")


@dataclass(frozen=True, eq=False)
class Projection:
    """Rows of a linear layer that compute queries, keys, values or the output.

    Args:
        weight (Tensor): View (C_out, C_in) of the layer's weight, so that it can be initialized
            in place.
        bias (Tensor | None): View (C_out,) of the layer's bias, if it has one.
    """

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, eq=False)
class AttentionProjections:
    """Projections of an attention layer.

    Heads are consecutive in the rows of queries, keys and values, and in the columns of the
    output.

    Args:
        module (nn.Module): Attention layer that owns the weights.
        num_heads (int): Number of attention heads.
        query (Projection): Query projection.
        key (Projection): Key projection.
        value (Projection): Value projection.
        output (Projection): Output projection of the concatenated heads.
    """

    module: nn.Module
    num_heads: int
    query: Projection
    key: Projection
    value: Projection
    output: Projection


def register_attention(*classes: type | str, force: bool = False) -> Callable:
    """Register a decorated function as the adapter of some attention classes.

    Args:
        *classes (type | str): Classes or their full names, see :func:`register_host`.
        force (bool): Whether to replace a registered adapter. Defaults to False.

    Returns:
        Callable: Decorator for a function that maps an attention layer to its
        :class:`AttentionProjections`.
    """
    return _ATTENTION.register(*classes, force=force)


def attention_projections(block: nn.Module) -> AttentionProjections:
    """Find the attention projections in a block.

    Args:
        block (nn.Module): Transformer block, or the attention layer itself.

    Returns:
        AttentionProjections: Query, key, value and output projections.

    Raises:
        HostError: If the block has no attention of a registered class, or more than one.
    """
    found = [module for _, module in own_modules(block) if _ATTENTION.find(type(module))]
    # A wrapper around an attention may itself be an attention of a registered class.
    inner = [m for m in found if not any(m is not o and m in set(o.modules()) for o in found)]
    if not inner:
        raise HostError(
            f"{full_name(type(block))} has no {_ATTENTION.kind}. Supported classes:\n  "
            + "\n  ".join(_ATTENTION.names())
            + f"\nand their subclasses. Register other classes with {_ATTENTION.teach}"
        )
    if len(inner) > 1:
        classes = ", ".join(full_name(type(module)) for module in inner)
        raise HostError(f"{full_name(type(block))} has several attention modules: {classes}")
    return _ATTENTION.get(inner[0])(inner[0])


def rows(layer: nn.Module, part: int = 0, parts: int = 1) -> Projection:
    """Select one of several equal parts of a linear layer's outputs.

    Args:
        layer (nn.Module): Linear layer with ``weight`` and ``bias``.
        part (int): Index of the part. Defaults to 0.
        parts (int): Number of parts. Defaults to 1.

    Returns:
        Projection: Views of the rows of ``weight`` and ``bias``.
    """
    bias = None if layer.bias is None else layer.bias.chunk(parts)[part]
    return Projection(layer.weight.chunk(parts)[part], bias)


@register_attention(
    "smallvit.layers.attention.Attention",
    "mmpretrain.models.utils.attention.MultiheadAttention",
    "mmpretrain.models.utils.attention.WindowMSA",
    "mmdet.models.backbones.swin.WindowMSA",
    "mmseg.models.backbones.swin.WindowMSA",
    "timm.layers.attention.Attention",
    "timm.models.vision_transformer.Attention",
    "timm.models.swin_transformer.WindowAttention",
    "timm.models.cait.TalkingHeadAttn",
    "timm.models.convit.MHSA",
)
def fused(attention: nn.Module) -> AttentionProjections:
    """Adapter for a joint projection ``qkv`` of queries, keys and values."""
    if not isinstance(getattr(attention, "q_norm", None), nn.Identity | None):
        raise HostError(
            f"{full_name(type(attention))} normalizes queries and keys, so their products are not "
            "determined by the weights"
        )
    query, key, value = (rows(attention.qkv, part, 3) for part in range(3))
    output = rows(attention.proj)
    return AttentionProjections(attention, attention.num_heads, query, key, value, output)


@register_attention(
    "smallvit.layers.talking_heads.TalkingHeadsAttention",
    "smallvit.backbones.pvt.SpatialReductionAttention",
    "timm.models.pvt_v2.Attention",
)
def fused_keys(attention: nn.Module) -> AttentionProjections:
    """Adapter for a joint projection ``kv`` of keys and values."""
    parts = (rows(attention.q), rows(attention.kv, 0, 2), rows(attention.kv, 1, 2))
    return AttentionProjections(attention, attention.num_heads, *parts, rows(attention.proj))


@register_attention("smallvit.layers.gpsa.FusedGPSA", "timm.models.convit.GPSA")
def fused_queries(attention: nn.Module) -> AttentionProjections:
    """Adapter for a joint projection ``qk`` of queries and keys."""
    parts = (rows(attention.qk, 0, 2), rows(attention.qk, 1, 2), rows(attention.v))
    return AttentionProjections(attention, attention.num_heads, *parts, rows(attention.proj))


@register_attention("smallvit.backbones.cvt.ConvAttention")
def apart(attention: nn.Module) -> AttentionProjections:
    """Adapter for separate projections ``q``, ``k`` and ``v``."""
    parts = (rows(layer) for layer in (attention.q, attention.k, attention.v, attention.proj))
    return AttentionProjections(attention, attention.num_heads, *parts)


@register_attention("torch.nn.modules.activation.MultiheadAttention")
def pytorch(attention: nn.MultiheadAttention) -> AttentionProjections:
    """Adapter for PyTorch's attention, which mmcv's and mmseg's blocks contain."""
    if attention.in_proj_weight is None:
        raise HostError("nn.MultiheadAttention with kdim or vdim is not self-attention")
    biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    query, key, value = map(Projection, attention.in_proj_weight.chunk(3), biases)
    output = rows(attention.out_proj)
    return AttentionProjections(attention, attention.num_heads, query, key, value, output)
