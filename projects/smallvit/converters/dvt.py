"""Checkpoints of Dynamic-Vision-Transformer: cascades and individual transformers."""

import re
from collections.abc import Callable
from dataclasses import replace

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
        list[Rule]: Rules without those of feature and relationship reuse.
    """
    encoder = f"{target}patch_embed.encoders.{{encoder}}"
    return [
        Rule(f"{source}cls_token", f"{target}cls_token"),
        Rule(f"{source}pos_embed", f"{target}pos_embed", frozen=True),
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
        list[Rule]: Rules without those of feature and relationship reuse.
    """
    blocks, ours = f"{source}blocks.{{block}}", f"{target}layers.{{block}}"
    return [
        Rule(f"{source}cls_token", f"{target}cls_token"),
        Rule(f"{source}pos_embed", f"{target}pos_embed"),
        Rule(f"{source}patch_embed.proj.{{affine}}", f"{target}patch_embed.projection.{{affine}}"),
        *block_rules(blocks, TIMM_BLOCK, ours, MMPRETRAIN_BLOCK, True),
        Rule(f"{source}norm.{{affine}}", f"{target}ln1.{{affine}}"),
    ]


_EXITS = ("less_less_token.", "less_token.", "normal_token.")


def _cascade(single: Callable[[str, str], list[Rule]]) -> list[Rule]:
    rules = []
    for index, official in enumerate(_EXITS):
        rules += _renamed(single(official, f"backbone.exits.{index}."), index)
        rules.append(Rule(f"{official}head.{{affine}}", f"head.fcs.{index}.{{affine}}"))
    for index, official in enumerate(_EXITS[1:]):
        # Spelled as in the official code.
        reuse = f"{official}blocks.{{block{index + 1}}}.feature_resuse_mlp"
        ours = f"backbone.feature_reuse.{index}"
        number = f"{{block{index + 1}}}"
        rules += [
            Rule(f"{reuse}.0.{{affine}}", f"{ours}.norms.{number}.{{affine}}", optional=True),
            *(
                Rule(
                    f"{reuse}.1.{layer}.{{affine}}",
                    f"{ours}.mlps.{number}.{layer}.{{affine}}",
                    optional=True,
                )
                for layer in ("fc1", "fc2")
            ),
            *(
                Rule(
                    f"{official}relation_reuse_conv.{theirs}.{{affine}}",
                    f"backbone.relation_reuse.{index}.{mine}.{{affine}}",
                    optional=True,
                )
                for theirs, mine in ((0, "conv1"), (2, "conv2"))
            ),
        ]
    return rules


def _renamed(rules: list[Rule], index: int) -> list[Rule]:
    """Use separate indices for each exit, because their numbers of blocks may differ."""

    def rename(text: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(text, tuple):
            return tuple(map(one, text))
        return one(text)

    def one(text: str) -> str:
        for name in ("block", "encoder"):
            text = re.sub(rf"\{{{name}([}}+])", rf"{{{name}{index}\1", text)
        return text

    return [replace(rule, source=rename(rule.source), target=rename(rule.target)) for rule in rules]


_HEAD = Rule("head.{affine}", "head.fc.{affine}")

SYSTEM = System(
    "dvt",
    architectures=[
        KeyMap("t2t", [*t2t_rules(), _HEAD], classes="head.fc.weight"),
        KeyMap("deit", [*deit_rules(), _HEAD], classes="head.fc.weight"),
        KeyMap("t2t_cascade", _cascade(t2t_rules), classes="head.fcs.0.weight"),
        KeyMap("deit_cascade", _cascade(deit_rules), classes="head.fcs.0.weight"),
    ],
    models={
        f"DVT_{official}": (kind, f"dvt/dvt-{ours}_in1k.py", {"normal_token.norm.weight": (dims,)})
        for official, kind, ours, dims in (
            ("T2t_vit_12", "t2t_cascade", "t2t-12", 256),
            ("T2t_vit_14", "t2t_cascade", "t2t-14", 384),
            ("Deit_small", "deit_cascade", "deit-s", 384),
        )
    },
    wrapper="model_state_dict",
)
