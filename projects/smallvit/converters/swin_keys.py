"""Swin of Efficient_ViT_with_DW and MMPretrain's SwinTransformer: keys, layouts and masks."""

from math import isqrt

from einops import rearrange

from .keymap import Computed, Rule

_BLOCK = "layers.{stage}.blocks.{block}"
_OURS = "backbone.stages.{stage}.blocks.{block}"
# Image size of the official models, for which their checkpoints contain attention masks.
_IMAGE_SIZE, _PATCH_SIZE = 224, 4


def _to_unfolded(tensor):
    """Reorder the last axis (2 x 2 positions, C channels) of a patch merging norm or reduction.

    The official code concatenates positions column by column with channels innermost;
    MMPretrain's unfold goes row by row with channels outermost.
    """
    return rearrange(tensor, "... (w h c) -> ... (c h w)", h=2, w=2)


def _to_sliced(tensor):
    return rearrange(tensor, "... (c h w) -> ... (w h c)", h=2, w=2)


def _region(side: int, window: int):
    """Number of the region, from 0 to 2, of each row of a shifted map."""
    import torch

    rows = torch.arange(side)
    return (rows >= side - window).long() + (rows >= side - window // 2).long()


def _attention_mask(indices, state):
    """Attention mask of a shifted block; the official model stores it, MMPretrain computes it."""
    stage, block = indices["stage"], indices["block"]
    table = state[f"layers.{stage}.blocks.{block}.attn.relative_position_bias_table"]
    window = (isqrt(len(table)) + 1) // 2
    side = _IMAGE_SIZE // _PATCH_SIZE >> stage
    if block % 2 == 0 or side <= window:
        return None
    band = _region(side, window)
    regions = 3 * band[:, None] + band[None, :]
    regions = rearrange(regions, "(down h) (across w) -> (down across) (h w)", h=window, w=window)
    apart = regions[:, None, :] != regions[:, :, None]
    return apart.to(table.dtype) * -100.0


def swin_rules() -> list[Rule | Computed]:
    """Rules for MMPretrain's SwinTransformer without shortcuts.

    Returns:
        list[Rule | Computed]: Rules, including those of the head.
    """
    copied = {
        "norm1.{affine}": "norm1.{affine}",
        "attn.relative_position_bias_table": "attn.w_msa.relative_position_bias_table",
        "attn.relative_position_index": "attn.w_msa.relative_position_index",
        "attn.qkv.{affine}": "attn.w_msa.qkv.{affine}",
        "attn.proj.{affine}": "attn.w_msa.proj.{affine}",
        "norm2.{affine}": "norm2.{affine}",
        "mlp.fc1.{affine}": "ffn.layers.0.0.{affine}",
        "mlp.fc2.{affine}": "ffn.layers.1.{affine}",
    }
    return [
        Rule("patch_embed.proj.{affine}", "backbone.patch_embed.projection.{affine}"),
        Rule("patch_embed.norm.{affine}", "backbone.patch_embed.norm.{affine}"),
        *[Rule(f"{_BLOCK}.{key}", f"{_OURS}.{name}") for key, name in copied.items()],
        Computed(source=f"{_BLOCK}.attn_mask", make=_attention_mask),
        *[
            Rule(
                f"layers.{{merge}}.downsample.{key}",
                f"backbone.stages.{{merge}}.downsample.{key}",
                _to_unfolded,
                _to_sliced,
            )
            for key in ("norm.{affine}", "reduction.weight")
        ],
        Rule("norm.{affine}", "backbone.norm3.{affine}"),
        Rule("head.{affine}", "head.fc.{affine}"),
    ]


SWIN_SPANS = {"merge": ("stage", -1)}
