"""Selection of the faster attention implementation: fused kernel, or matrix products and softmax.

The fused kernel is used while a graph is captured (``torch.compile``, export), on accelerators, and
in inference. The explicit form is faster only for training on short sequences on a CPU.
``tools/analysis_tools/benchmark_ops.py --attention`` measures both on the current machine.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.layers.heads import split_joint
from smallvit.layers.window_masks import cache_window_masks
from smallvit.ops.processor import has_bfloat16_instructions, vector_instructions

__all__ = [
    "attend",
    "attention_weights",
    "explicit_attention",
    "is_explicit_faster",
    "select_timm_attention",
    "use_faster_attention",
]


class Case(NamedTuple):
    """Conditions under which matrix products and softmax are faster in training on a CPU.

    Args:
        dtype (torch.dtype): Type of queries, keys and values.
        instructions (str): Required instruction set of the CPU: "bfloat16", or the vector
            instructions that were measured.
        pairs (int): Maximum of queries times keys. The weights are stored for the backward pass:
            for 400 tokens, 640 KB per image and head in float32.
        rows (int): Minimum number of queries of all images and heads; with fewer, the overhead of
            calling three operators exceeds the gain.
    """

    dtype: torch.dtype
    instructions: str
    pairs: int
    rows: int


#: Measurements. bfloat16, CPU with AMX, DeiT-Ti (197 tokens, 3 heads of 64), batch 8, two training
#: steps: 559 ms fused, 209 ms explicit; in float32 the fused kernel is faster on that CPU. float32,
#: AVX2, 17 tokens, heads of 16 to 64, batch 64: explicit is 1.0 to 1.35 times as fast as fused.
#: With 49 to 785 tokens they differ by at most a tenth; in inference the fused kernel is 1.1 to
#: 1.8 times as fast.
CASES = (
    Case(torch.bfloat16, "bfloat16", pairs=400**2, rows=1),
    Case(torch.float32, "AVX2", pairs=32**2, rows=2000),
)

#: timm's attention classes that read the switch ``fused_attn`` in each call.
TIMM_ATTENTION = ("timm.layers.attention.Attention", "timm.models.pvt_v2.Attention")
#: MMPretrain's attention with a single projection for queries, keys and values.
MMPRETRAIN_ATTENTION = "mmpretrain.models.utils.attention.MultiheadAttention"


def is_explicit_faster(
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    gradients: bool,
) -> bool:
    """Check whether matrix products and softmax are faster than the fused kernel.

    Args:
        device (torch.device): Device of the tensors.
        dtype (torch.dtype): Type of queries, keys and values.
        batch (int): Number of images.
        heads (int): Number of attention heads.
        queries (int): Number of queries.
        keys (int): Number of keys.
        gradients (bool): Whether a backward pass follows.

    Returns:
        bool: Whether one of :data:`CASES` applies.
    """
    if device.type != "cpu" or not gradients:
        return False
    return any(
        dtype == case.dtype
        and queries * keys <= case.pairs
        and batch * heads * queries >= case.rows
        and _has(case.instructions)
        for case in CASES
    )


def _has(instructions: str) -> bool:
    if instructions == "bfloat16":
        return has_bfloat16_instructions()
    return vector_instructions() == instructions


def _is_captured(x: Tensor) -> bool:
    """Whether a graph is captured, which must also be valid for other sizes and devices."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) is not Tensor


def attention_weights(
    query: Tensor, key: Tensor, attn_mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Compute the attention weights of each token for every other token.

    Args:
        query (Tensor): Queries (B, num_heads, N, head_dims).
        key (Tensor): Keys (B, num_heads, M, head_dims).
        attn_mask (Tensor, optional): Mask that is added to the logits, or a boolean mask that is
            False for pairs that are masked out. Defaults to None.
        scale (float, optional): Factor of the logits. Defaults to None, which means
            ``head_dims ** -0.5``.

    Returns:
        Tensor: Weights (B, num_heads, N, M), which sum to 1 over the last axis.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = query * scale @ key.transpose(-2, -1)
    if attn_mask is None:
        return logits.softmax(dim=-1)
    if attn_mask.dtype == torch.bool:
        return logits.masked_fill(~attn_mask, -torch.inf).softmax(dim=-1)
    return (logits + attn_mask).softmax(dim=-1)


def explicit_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Compute attention as two matrix products with a softmax between them.

    Args:
        query (Tensor): Queries (B, num_heads, N, head_dims).
        key (Tensor): Keys (B, num_heads, M, head_dims).
        value (Tensor): Values (B, num_heads, M, C).
        attn_mask (Tensor, optional): See :func:`attention_weights`. Defaults to None.
        dropout_p (float): Dropout of the attention weights. Defaults to 0.
        scale (float, optional): Factor of the logits. Defaults to None, which means
            ``head_dims ** -0.5``.

    Returns:
        Tensor: Output (B, num_heads, N, C).
    """
    weights = attention_weights(query, key, attn_mask, scale)
    return (F.dropout(weights, dropout_p) if dropout_p else weights) @ value


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Compute scaled dot-product attention with the faster implementation.

    All attention layers of smallvit call this function instead of
    :func:`torch.nn.functional.scaled_dot_product_attention`. Both implementations agree up to
    rounding; their dropout masks differ.

    Args:
        query (Tensor): Queries (B, num_heads, N, head_dims).
        key (Tensor): Keys (B, num_heads, M, head_dims).
        value (Tensor): Values (B, num_heads, M, C).
        attn_mask (Tensor, optional): Mask that is added to the logits, or a boolean mask, with
            which the fused kernel is always used. Defaults to None.
        dropout_p (float): Dropout of the attention weights. Defaults to 0.
        is_causal (bool): Whether to apply a causal mask, with which the fused kernel is always
            used. Defaults to False.
        scale (float, optional): Factor of the logits. Defaults to None, which means
            ``head_dims ** -0.5``.

    Returns:
        Tensor: Output (B, num_heads, N, C).
    """
    is_added = attn_mask is None or attn_mask.dtype != torch.bool
    if is_added and not is_causal and not _is_captured(query):
        batch, heads, queries = query.shape[:3]
        gradients = torch.is_grad_enabled() and (
            query.requires_grad or key.requires_grad or value.requires_grad
        )
        sizes = (batch, heads, queries, key.shape[2], gradients)
        if is_explicit_faster(query.device, query.dtype, *sizes):
            return explicit_attention(query, key, value, attn_mask, dropout_p, scale)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attn_mask,
        dropout_p=dropout_p,
        is_causal=is_causal,
        scale=scale,
    )


def use_faster_attention(model: nn.Module) -> None:
    """Use the faster attention implementation in MMPretrain's and timm's networks as well.

    Module instances are changed, not their classes: MMPretrain's attention calls its attribute
    ``scaled_dot_product_attention``, and timm's reads its flag ``fused_attn`` in each call. The
    attention of MMPretrain's vision transformer also splits its joint projection with
    :func:`~smallvit.layers.heads.split_joint`, and MMPretrain's shifted windows cache their masks,
    see :func:`~smallvit.layers.window_masks.cache_window_masks`. Attention that has been replaced
    already and modules with ``fused_attn`` disabled are not changed. Further calls have no effect.

    Args:
        model (nn.Module): Network with attention modules, changed in place.
    """
    for module in model.modules():
        if getattr(module, "scaled_dot_product_attention", None) is F.scaled_dot_product_attention:
            module.scaled_dot_product_attention = attend
            if _name_of(module) == MMPRETRAIN_ATTENTION and "forward" not in vars(module):
                module.forward = partial(_attend_jointly, module)
        elif (
            _is_timm_attention(module)
            and select_timm_attention not in module._forward_pre_hooks.values()
        ):
            module.register_forward_pre_hook(select_timm_attention)
    cache_window_masks(model)


def _name_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _is_timm_attention(module: nn.Module) -> bool:
    return _name_of(module) in TIMM_ATTENTION and module.fused_attn is True


def _attend_jointly(module: nn.Module, x: Tensor) -> Tensor:
    """Replacement of MMPretrain's ``MultiheadAttention.forward`` with bitwise equal results."""
    query, key, value = split_joint(module.qkv(x), 3, module.num_heads)
    mixed = module.scaled_dot_product_attention(
        query, key, value, dropout_p=module.attn_drop if module.training else 0.0
    )
    mixed = module.proj(mixed.transpose(1, 2).flatten(2))
    mixed = module.out_drop(module.gamma1(module.proj_drop(mixed)))
    return value.squeeze(1) + mixed if module.v_shortcut else mixed


def select_timm_attention(module: nn.Module, args: tuple) -> None:
    """Forward pre-hook that selects the implementation of timm's attention.

    Args:
        module (nn.Module): Attention module of a class in :data:`TIMM_ATTENTION`.
        args (tuple): Positional arguments of its forward, tokens (B, N, C) first.
    """
    x = args[0]
    if _is_captured(x):
        return
    keys = x.shape[1]
    if isinstance(getattr(module, "sr", None), nn.Conv2d):  # PVTv2 downsamples the keys
        keys //= module.sr.stride[0] ** 2
    autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
    gradients = torch.is_grad_enabled() and (
        x.requires_grad or any(parameter.requires_grad for parameter in module.parameters())
    )
    sizes = (x.shape[0], module.num_heads, x.shape[1], keys, gradients)
    explicit = is_explicit_faster(x.device, dtype, *sizes)
    if module.fused_attn is explicit:
        module.fused_attn = not explicit
