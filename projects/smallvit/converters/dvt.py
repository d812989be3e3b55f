"""Checkpoints of Dynamic-Vision-Transformer: single transformers of the cascades."""

from .keymap import KeyMap, Rule
from .plain_keys import (
    DVT_PERFORMER,
    MMPRETRAIN_BLOCK,
    TIMM_BLOCK,
    block_rules,
    performer_rules,
)
from .system import System


def t2t_rules(source: str = "", target: str = "backbone.") -> list[Rule]:
    """Rules of a T2T-ViT with the Performer token encoder, without its head.

    Args:
        source (str): Official prefix, e.g. ``less_token.``. Defaults to "".
        target (str): Our prefix. Defaults to "backbone.".

    Returns:
        list[Rule]: The rules, those of feature and relationship reuse not among them.
    """
    encoder = f"{target}patch_embed.encoders.{{encoder}}"
    return [
        Rule(f"{source}cls_token", f"{target}cls_token"),
        Rule(f"{source}pos_embed", f"{target}pos_embed"),
        *performer_rules(f"{source}tokens_to_token.attention{{encoder+1}}", DVT_PERFORMER, encoder),
        Rule(
            f"{source}tokens_to_token.project.{{affine}}",
            f"{target}patch_embed.projection.{{affine}}",
        ),
        *block_rules(
            f"{source}blocks.{{block}}", TIMM_BLOCK, f"{target}layers.{{block}}", TIMM_BLOCK, False
        ),
        Rule(f"{source}norm.{{affine}}", f"{target}norm.{{affine}}"),
    ]


def deit_rules(source: str = "", target: str = "backbone.") -> list[Rule]:
    """Rules of a DeiT for MMPretrain's VisionTransformer, without its head.

    Args:
        source (str): Official prefix. Defaults to "".
        target (str): Our prefix. Defaults to "backbone.".

    Returns:
        list[Rule]: The rules, those of feature and relationship reuse not among them.
    """
    blocks, ours = f"{source}blocks.{{block}}", f"{target}layers.{{block}}"
    return [
        Rule(f"{source}cls_token", f"{target}cls_token"),
        Rule(f"{source}pos_embed", f"{target}pos_embed"),
        Rule(f"{source}patch_embed.proj.{{affine}}", f"{target}patch_embed.projection.{{affine}}"),
        *block_rules(blocks, TIMM_BLOCK, ours, MMPRETRAIN_BLOCK, True),
        Rule(f"{source}norm.{{affine}}", f"{target}ln1.{{affine}}"),
    ]


_HEAD = Rule("head.{affine}", "head.fc.{affine}")

SYSTEM = System(
    "dvt",
    architectures=[
        KeyMap("t2t", [*t2t_rules(), _HEAD], classes="head.fc.weight"),
        KeyMap("deit", [*deit_rules(), _HEAD], classes="head.fc.weight"),
    ],
    models={},
)
