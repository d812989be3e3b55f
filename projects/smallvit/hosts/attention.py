"""Locate the query, key, value and output weights of a block's attention, fused or separate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.adapters import Adapters, full_name
from smallvit.hosts.rest import own_modules

_ATTENTION = Adapters("attention whose weights are known", "smallvit.hosts.register_attention")


@dataclass(frozen=True, eq=False)
class Projection:
    """Rows of a linear layer that compute queries, keys, values or the output.

    Args:
        weight (Tensor): (C_out, C_in), a view of the layer's weight: it is filled in place.
        bias (Tensor | None): (C_out,), a view of the layer's bias.
    """

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, eq=False)
class AttentionProjections:
    """Location of an attention's weights. Heads are consecutive in the rows of
    queries, keys and values, and in the columns of the output.

    Args:
        module (nn.Module): The attention.
        num_heads (int): Its heads.
        query (Projection): Makes the queries.
        key (Projection): Makes the keys.
        value (Projection): Makes the values.
        output (Projection): Joins the heads.
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
        force (bool): Whether an adapter that is there may be replaced. Defaults to False.

    Returns:
        Callable: The decorator of a function from the attention to its
        :class:`AttentionProjections`.
    """
    return _ATTENTION.register(*classes, force=force)


def attention_projections(block: nn.Module) -> AttentionProjections:
    """Find the weights of the attention in a block.

    Args:
        block (nn.Module): A transformer block, or the attention itself.

    Returns:
        AttentionProjections: Its query, key, value and output weights.

    Raises:
        HostError: If the block has no attention of a known class, or several.
    """
    found = [module for _, module in own_modules(block) if _ATTENTION.find(type(module))]
    # A wrapper around an attention may itself be an attention of a registered class.
    inner = [m for m in found if not any(m is not o and m in set(o.modules()) for o in found)]
    if not inner:
        raise HostError(
            f"{full_name(type(block))} has no {_ATTENTION.kind}; these are:\n  "
            + "\n  ".join(_ATTENTION.names())
            + f"\nand their subclasses. Teach another class with {_ATTENTION.teach}"
        )
    if len(inner) > 1:
        classes = ", ".join(full_name(type(module)) for module in inner)
        raise HostError(f"{full_name(type(block))} has several attentions: {classes}")
    return _ATTENTION.get(inner[0])(inner[0])


def rows(layer: nn.Module, part: int = 0, parts: int = 1) -> Projection:
    """Select one of several equal parts of a linear layer's outputs.

    Args:
        layer (nn.Module): The layer, with ``weight`` and ``bias``.
        part (int): Which part. Defaults to 0.
        parts (int): How many there are. Defaults to 1.

    Returns:
        Projection: Views of its weight and bias.
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
    """One layer ``qkv`` for queries, keys and values."""
    if not isinstance(getattr(attention, "q_norm", None), nn.Identity | None):
        raise HostError(
            f"{full_name(type(attention))} normalizes its queries and keys, whose products are not "
            "those of their weights"
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
    """One layer ``kv`` for keys and values."""
    parts = (rows(attention.q), rows(attention.kv, 0, 2), rows(attention.kv, 1, 2))
    return AttentionProjections(attention, attention.num_heads, *parts, rows(attention.proj))


@register_attention("smallvit.layers.gpsa.FusedGPSA", "timm.models.convit.GPSA")
def fused_queries(attention: nn.Module) -> AttentionProjections:
    """One layer ``qk`` for queries and keys."""
    parts = (rows(attention.qk, 0, 2), rows(attention.qk, 1, 2), rows(attention.v))
    return AttentionProjections(attention, attention.num_heads, *parts, rows(attention.proj))


@register_attention("smallvit.backbones.cvt.ConvAttention")
def apart(attention: nn.Module) -> AttentionProjections:
    """Separate layers."""
    parts = (rows(layer) for layer in (attention.q, attention.k, attention.v, attention.proj))
    return AttentionProjections(attention, attention.num_heads, *parts)


@register_attention("torch.nn.modules.activation.MultiheadAttention")
def pytorch(attention: nn.MultiheadAttention) -> AttentionProjections:
    """PyTorch's attention, inside mmcv's and mmseg's blocks."""
    if attention.in_proj_weight is None:
        raise HostError("nn.MultiheadAttention with kdim or vdim is no self-attention")
    biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
    query, key, value = map(Projection, attention.in_proj_weight.chunk(3), biases)
    output = rows(attention.out_proj)
    return AttentionProjections(attention, attention.num_heads, query, key, value, output)
