"""DWNet checkpoints of DemystifyLocalViT: classification, detection, segmentation."""

from math import isqrt

from einops import rearrange

from .grouping import swin_groups
from .keymap import KeyMap, Rule
from .system import System

_BLOCK = "layers.{stage}.blocks.{block}"
_OURS = "backbone.stages.{stage}.blocks.{block}"
_MIXER = f"{_BLOCK}.attn2conv"
_OUR_MIXER = f"{_OURS}.mixer"

_SPANS = {"merge": ("stage", -1)}
_MAP_SPANS = {**_SPANS, "out": ("stage", 0)}
_STEM = [
    Rule("patch_embed.proj.{affine}", "backbone.patch_embed.projection.{affine}"),
    Rule("patch_embed.norm.{affine}", "backbone.patch_embed.norm.{affine}"),
]
_BLOCKS = [
    Rule(f"{_MIXER}.conv0.weight", f"{_OUR_MIXER}.proj_in.weight"),
    Rule(f"{_MIXER}.bn0.{{bn}}", f"{_OUR_MIXER}.norm_in.{{bn}}"),
    Rule(f"{_MIXER}.bn.{{bn}}", f"{_OUR_MIXER}.norm_conv.{{bn}}"),
    Rule(f"{_MIXER}.conv2.weight", f"{_OUR_MIXER}.proj_out.weight"),
    Rule(f"{_MIXER}.bn2.{{bn}}", f"{_OUR_MIXER}.norm_out.{{bn}}"),
    Rule(f"{_BLOCK}.bn.{{bn}}", f"{_OURS}.norm.{{bn}}"),
    Rule(f"{_BLOCK}.mlp.fc1.{{affine}}", f"{_OURS}.mlp.fc1.{{affine}}"),
    Rule(f"{_BLOCK}.mlp.fc2.{{affine}}", f"{_OURS}.mlp.fc2.{{affine}}"),
]
_MERGING = [
    Rule(f"layers.{{merge}}.downsample.{key}", f"backbone.stages.{{merge}}.downsample.{key}")
    for key in ("norm.{affine}", "reduction.weight")
]
_CONV = {
    "static": [Rule(f"{_MIXER}.conv.{{affine}}", f"{_OUR_MIXER}.conv.{{affine}}")],
    "dynamic": [
        Rule(f"{_MIXER}.conv.bias", f"{_OUR_MIXER}.conv.bias"),
        Rule(f"{_MIXER}.conv.conv1.weight", f"{_OUR_MIXER}.conv.reduce.weight"),
        Rule(f"{_MIXER}.conv.bn.{{bn}}", f"{_OUR_MIXER}.conv.norm.{{bn}}"),
        Rule(f"{_MIXER}.conv.conv2.{{affine}}", f"{_OUR_MIXER}.conv.expand.{{affine}}"),
    ],
    "inhomogeneous": [
        Rule(f"{_MIXER}.conv.conv1.0.{{affine}}", f"{_OUR_MIXER}.conv.reduce.{{affine}}"),
        Rule(f"{_MIXER}.conv.conv1.1.{{bn}}", f"{_OUR_MIXER}.conv.norm.{{bn}}"),
        Rule(f"{_MIXER}.conv.conv2.0.{{affine}}", f"{_OUR_MIXER}.conv.expand.{{affine}}"),
    ],
}


def _to_map(tokens):
    side = isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        raise ValueError(
            f"expected a square number of positions in absolute_pos_embed, got {tokens.shape[1]}"
        )
    return rearrange(tokens, "b (h w) c -> b c h w", h=side).contiguous()


def _to_tokens(pos_map):
    return rearrange(pos_map, "b c h w -> b (h w) c").contiguous()


def _classifier(conv: str) -> KeyMap:
    position = Rule(
        "absolute_pos_embed", "backbone.absolute_pos_embed", _to_map, _to_tokens, optional=True
    )
    head = [
        Rule("norm.{affine}", "backbone.norm.{affine}"),
        Rule("head.{affine}", "head.fc.{affine}"),
    ]
    rules = [*_STEM, position, *_BLOCKS, *_CONV[conv], *_MERGING, *head]
    return KeyMap(conv, rules, _SPANS, classes="head.fc.weight")


def _multiscale(conv: str) -> list[Rule]:
    position = Rule("absolute_pos_embed", "backbone.absolute_pos_embed", optional=True)
    norms = Rule("norm{out}.{bn}", "backbone.norm{out}.{bn}")
    return [*_STEM, position, *_BLOCKS, *_CONV[conv], *_MERGING, norms]


def _backbone(conv: str) -> KeyMap:
    return KeyMap(f"{conv}-backbone", _multiscale(conv), _MAP_SPANS)


def _whole(conv: str, task: str, heads: dict[str, bool], classes: str) -> KeyMap:
    rules = [
        Rule(f"backbone.{rule.source}", rule.target, optional=rule.optional)
        for rule in _multiscale(conv)
    ]
    rules += [
        Rule(f"{head}.{{rest}}", f"{head}.{{rest}}", optional=optional)
        for head, optional in heads.items()
    ]
    return KeyMap(f"{conv}-{task}", rules, _MAP_SPANS, classes=classes)


def _detector(conv: str) -> KeyMap:
    heads = {"neck": False, "rpn_head": False, "roi_head": False}
    return _whole(conv, "detector", heads, "roi_head.mask_head.0.conv_logits.weight")


def _segmentor(conv: str) -> KeyMap:
    heads = {"decode_head": False, "auxiliary_head": True}
    return _whole(conv, "segmentor", heads, "decode_head.conv_seg.weight")


_SIZES = {"tiny": ("t", 96), "base": ("b", 128)}
_PREFIXES = {"static": "", "dynamic": "dynamic_", "inhomogeneous": "i_dynamic_"}
_CASCADE = "mstrain_480-800_giou_4conv1f_adamw_3x_coco"


def _models() -> dict[str, tuple]:
    models = {}
    for size, (letter, width) in _SIZES.items():
        stem = (width, 3, 4, 4)
        for conv, prefix in _PREFIXES.items():
            ours = f"dwnet/dwnet-{letter}{'' if conv == 'static' else f'_{conv}'}"
            name = f"{prefix}dwnet_{size}_patch4_window7"
            models[f"{name}_224"] = (
                conv,
                f"{ours}_in1k.py",
                {"patch_embed.proj.weight": stem},
            )
            if conv == "inhomogeneous":
                continue
            shapes = {"backbone.patch_embed.proj.weight": stem}
            cascade = f"{ours}-cascade-3x" if conv == "dynamic" else f"{ours}_cascade-3x"
            models[f"cascade_mask_rcnn_{name}_{_CASCADE}"] = (
                f"{conv}-detector",
                f"{cascade}_coco.py",
                shapes,
            )
            models[f"upernet_{name}_512x512_160k_ade20k"] = (
                f"{conv}-segmentor",
                f"{ours}_ade20k.py",
                shapes,
            )
    return models


SYSTEM = System(
    "dwnet",
    architectures=[
        build(conv) for build in (_classifier, _backbone, _detector, _segmentor) for conv in _CONV
    ],
    models=_models(),
    grouping=swin_groups,
)
