"""Key maps of the plain students of tiny-transformers: DeiT and T2T-ViT."""

from .keymap import KeyMap, Rule
from .plain_keys import (
    MMPRETRAIN_BLOCK,
    TIMM_BLOCK,
    TINY_BLOCK,
    TINY_PERFORMER,
    block_rules,
    performer_rules,
)

_LAYER = "layers.{block}"
_OURS = "backbone.layers.{block}"


def deit(distilled: bool = False) -> KeyMap:
    """Key map of DeiT for MMPretrain's VisionTransformer.

    Args:
        distilled (bool): Whether the model has a distillation token and head, for logit guidance.
            Defaults to False.

    Returns:
        KeyMap: Key map "deit" or "deit-distilled".
    """
    rules = [
        Rule("cls_token", "backbone.cls_token"),
        Rule("pos_embed", "backbone.pos_embed"),
        Rule("patch_embed.projection.{affine}", "backbone.patch_embed.projection.{affine}"),
        *block_rules(_LAYER, TINY_BLOCK, _OURS, MMPRETRAIN_BLOCK, qkv_bias=True),
        Rule("norm.{affine}", "backbone.ln1.{affine}"),
    ]
    if not distilled:
        rules.append(Rule("head.{affine}", "head.fc.{affine}"))
        return KeyMap("deit", rules, classes="head.fc.weight")
    rules += [
        Rule("distill_token", "backbone.dist_token"),
        Rule("head.{affine}", "head.layers.head.{affine}"),
        Rule("distill_head.{affine}", "head.layers.head_dist.{affine}"),
    ]
    return KeyMap("deit-distilled", rules, classes="head.layers.head.weight")


def t2t() -> KeyMap:
    """Key map of T2T-ViT with the Performer encoder for :class:`smallvit.backbones.T2TViT`.

    Returns:
        KeyMap: Key map "t2t".
    """
    encoder = "backbone.patch_embed.encoders.{encoder}"
    rules = [
        Rule("cls_token", "backbone.cls_token"),
        Rule("pos_embed", "backbone.pos_embed", frozen=True),
        *performer_rules("t2t_module.attention.{encoder}", TINY_PERFORMER, encoder),
        Rule("t2t_module.projection.{affine}", "backbone.patch_embed.projection.{affine}"),
        *block_rules(_LAYER, TINY_BLOCK, _OURS, TIMM_BLOCK, qkv_bias=False),
        Rule("norm.{affine}", "backbone.norm.{affine}"),
        Rule("head.{affine}", "head.fc.{affine}"),
    ]
    return KeyMap("t2t", rules, classes="head.fc.weight")
