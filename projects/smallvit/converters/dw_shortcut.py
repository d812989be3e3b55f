"""Checkpoints of Efficient_ViT_with_DW: ViT, CaiT and Swin with depth-wise shortcuts."""

from collections.abc import Mapping, Sequence
from itertools import product

from einops import rearrange

from .grouping import swin_groups
from .keymap import Computed, KeyMap, Rule
from .plain_keys import MMPRETRAIN_BLOCK, block_rules
from .swin_keys import SWIN_SPANS, swin_rules
from .system import System

_PATCH = 16
_HEAD = Rule("mlp_head.1.{affine}", "head.fc.{affine}")
_CLASSES = "head.fc.weight"

_VIT_BLOCK = ("0.norm", "0.fn.to_qkv", "0.fn.to_out.0", "1.norm", "1.fn.net.0", "1.fn.net.3")
# Official to our names within the two branches of a block; layer scale wraps each branch.
_CAIT_BLOCK = {
    "0.{wrapped}norm.{affine}": "norm1.{affine}",
    "0.{wrapped}fn.to_q.weight": "attn.q.weight",
    "0.{wrapped}fn.to_kv.weight": "attn.kv.weight",
    "0.{wrapped}fn.to_out.0.{affine}": "attn.proj.{affine}",
    "1.{wrapped}norm.{affine}": "norm2.{affine}",
    "1.{wrapped}fn.net.0.{affine}": "mlp.fc1.{affine}",
    "1.{wrapped}fn.net.3.{affine}": "mlp.fc2.{affine}",
}
_TALKING_HEADS = {
    "0.{wrapped}fn.mix_heads_pre_attn": "attn.mix_before",
    "0.{wrapped}fn.mix_heads_post_attn": "attn.mix_after",
}


def _to_kernel(weight):
    """Reorder patch weights, which the official code flattens by row, column and channel."""
    kernel = rearrange(weight, "out (h w c) -> out c h w", h=_PATCH, w=_PATCH)
    return kernel.contiguous()


def _to_rows(kernel):
    return rearrange(kernel, "out c h w -> out (h w c)").contiguous()


def _to_vector(scale):
    return scale.flatten()


def _to_row(scale):
    return scale.reshape(1, 1, -1)


def _stem(position: bool = True) -> list[Rule]:
    projection = "backbone.patch_embed.projection"
    return [
        Rule("to_patch_embedding.1.weight", f"{projection}.weight", _to_kernel, _to_rows),
        Rule("to_patch_embedding.1.bias", f"{projection}.bias"),
        *([Rule("pos_embedding", "backbone.pos_embed")] if position else []),
        Rule("cls_token", "backbone.cls_token"),
    ]


def _cait_trunk(official: str, ours: str, scale: bool, talking: bool) -> list[Rule]:
    scales = [
        Rule(f"{official}.{i}.scale", f"{ours}.ls{i + 1}.gamma", _to_vector, _to_row)
        for i in range(2)
    ]
    wrapped = "fn." if scale else ""
    keys = _CAIT_BLOCK | (_TALKING_HEADS if talking else {})
    names = [
        Rule(f"{official}.{key.replace('{wrapped}', wrapped)}", f"{ours}.{name}")
        for key, name in keys.items()
    ]
    return [*(scales if scale else []), *names]


def vit_rules() -> list[Rule]:
    """Rules for MMPretrain's VisionTransformer without shortcuts.

    Returns:
        list[Rule]: Rules, including those of the head.
    """
    blocks = ("transformer.layers.{block}", _VIT_BLOCK, "backbone.layers.{block}")
    return [
        *_stem(),
        *block_rules(*blocks, MMPRETRAIN_BLOCK, qkv_bias=False),
        Rule("mlp_head.0.{affine}", "backbone.ln1.{affine}"),
        _HEAD,
    ]


def cait_rules(scale: bool = True, talking: bool = True, position: bool = True) -> list[Rule]:
    """Rules for :class:`smallvit.backbones.CaiT` without shortcuts.

    Comments in the official code say which components to remove for small datasets.

    Args:
        scale (bool): Whether the model has layer scale. Defaults to True.
        talking (bool): Whether the model has talking heads. Defaults to True.
        position (bool): Whether the model has a position embedding. Defaults to True.

    Returns:
        list[Rule]: Rules, including those of the head.
    """
    parts = (scale, talking)
    return [
        *_stem(position),
        *_cait_trunk("patch_transformer.layers.{block}", "backbone.layers.{block}", *parts),
        *_cait_trunk("cls_transformer.layers.{last}", "backbone.cls_layers.{last}", *parts),
        Rule("mlp_head.0.{affine}", "backbone.norm.{affine}"),
        _HEAD,
    ]


def shortcut_rules(trunk: str, stage: str) -> list[Rule]:
    """Rules of the shortcuts, which the official code stores next to the blocks.

    Args:
        trunk (str): Official prefix of the module with the blocks.
        stage (str): Number of the stage, or its index in braces.

    Returns:
        list[Rule]: Rules of the depth-wise convolutions.
    """
    ours = f"backbone.dw_shortcuts.{stage}.{{block}}.branches.0"
    return [
        Rule(f"{trunk}.batchnorms.{{block}}.{{bn}}", f"{ours}.norm.{{bn}}"),
        Rule(f"{trunk}.convs.{{block}}.{{affine}}", f"{ours}.conv.{{affine}}"),
    ]


def _cait_name(scale: bool, talking: bool, position: bool) -> str:
    parts = dict(scale=scale, heads=talking, position=position)
    lacking = [part for part, is_there in parts.items() if not is_there]
    if len(lacking) == len(parts):
        return "cait-bare"
    return "-".join(["cait", *(["without", *lacking] if lacking else [])])


_Rules = Sequence[Rule | Computed]
_HOSTS: dict[str, tuple[_Rules, _Rules, Mapping[str, tuple[str, int]] | None]] = {
    "vit": (vit_rules(), shortcut_rules("transformer", "0"), None),
    **{
        _cait_name(*parts): (cait_rules(*parts), shortcut_rules("patch_transformer", "0"), None)
        for parts in product((True, False), repeat=3)
    },
    "swin": (swin_rules(), shortcut_rules("layers.{stage}", "{stage}"), SWIN_SPANS),
}


def _architectures() -> list[KeyMap]:
    """Key maps of the published models with shortcuts, and of the same models without them."""
    with_shortcuts = [
        KeyMap(f"{name}-shortcut", [*rules, *shortcuts], spans, classes=_CLASSES)
        for name, (rules, shortcuts, spans) in _HOSTS.items()
    ]
    plain = [
        KeyMap(name, rules, spans, classes=_CLASSES) for name, (rules, _, spans) in _HOSTS.items()
    ]
    return with_shortcuts + plain


def _models() -> dict[str, tuple]:
    models: dict[str, tuple[str, str, dict[str, tuple[int, ...] | None]]] = {}
    for dataset, num_classes in (("cifar10", 10), ("cifar100", 100), ("tiny_imagenet", 200)):
        ending = f"shortcut_{dataset.replace('_', '-')}.py"
        for size, width in (("tiny", 192), ("small", 384)):
            models[f"vit_{size}_16_224_{dataset}"] = (
                "vit-shortcut",
                f"dw_shortcut/vit-{size[0]}_{ending}",
                {"mlp_head.1.weight": (num_classes, width)},
            )
        for size, shape in (("xxs12", None), ("xxs24", (192,))):
            # The published results use the variant that is commented out in the code.
            for form, last in (("", "0.fn.norm.weight"), ("-bare", "0.norm.weight")):
                models[f"cait_{size}_16_224_{dataset}{form.replace('-', '_')}"] = (
                    f"cait{form}-shortcut",
                    f"dw_shortcut/cait-{size}_{ending.replace('shortcut', f'shortcut{form}')}",
                    {
                        "mlp_head.1.weight": (num_classes, 192),
                        f"patch_transformer.layers.23.{last}": shape,
                    },
                )
        models[f"swin_tiny_patch4_window7_224_{dataset}"] = (
            "swin-shortcut",
            f"dw_shortcut/swin-t_{ending}",
            {"head.weight": (num_classes, 768)},
        )
    return models


SYSTEM = System(
    "dw_shortcut", architectures=_architectures(), models=_models(), grouping=swin_groups
)
