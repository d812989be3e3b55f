"""DHVT checkpoints (``model`` dicts of the official repository)."""

from .keymap import KeyMap, Rule
from .system import System

_OURS = "backbone.layers.{block}"

_BLOCKS = [
    Rule(f"blocks.{{block}}.{theirs}", f"{_OURS}.{ours}")
    for theirs, ours in {
        "norm1.{affine}": "norm1.{affine}",
        "attn.pos_embed": "attn.head_pos_embed",
        "attn.ht_proj.{affine}": "attn.head_proj.{affine}",
        "attn.ht_norm.{affine}": "attn.head_norm.{affine}",
        "attn.qkv.{affine}": "attn.qkv.{affine}",
        "attn.proj.{affine}": "attn.proj.{affine}",
        "norm2.{affine}": "norm2.{affine}",
        "mlp.conv1.{affine}": "mlp.conv1.{affine}",
        "mlp.conv2.{affine}": "mlp.conv2.{affine}",
        "mlp.conv3.{affine}": "mlp.conv3.{affine}",
        "mlp.bn1.{bn}": "mlp.norm1.{bn}",
        "mlp.bn2.{bn}": "mlp.norm2.{bn}",
        "mlp.bn3.{bn}": "mlp.norm3.{bn}",
        "mlp.compress.{affine}": "mlp.compress.{affine}",
        "mlp.excitation.{affine}": "mlp.excite.{affine}",
    }.items()
]
_OUTSIDE = [
    Rule("cls_token", "backbone.cls_token"),
    *(
        Rule(f"patch_embed.{where}_affine.{name}", f"backbone.patch_embed.{where}_affine.{name}")
        for where in ("pre", "post")
        for name in ("alpha", "beta")
    ),
    Rule("norm.{affine}", "backbone.norm.{affine}"),
    Rule("head.{affine}", "head.fc.{affine}"),
]


def _classifier(patch_size: int) -> KeyMap:
    num_convs = patch_size.bit_length() - 1
    stem = []
    # Activations are numbered too, so official indices of convolutions increase in steps of two.
    for ours, theirs in enumerate(range(0, 2 * num_convs, 2)):
        source, target = f"patch_embed.proj.{theirs}", "backbone.patch_embed"
        stem += [
            Rule(f"{source}.0.weight", f"{target}.convs.{ours}.weight"),
            Rule(f"{source}.1.{{bn}}", f"{target}.norms.{ours}.{{bn}}"),
        ]
    return KeyMap(f"patch{patch_size}", [*stem, *_OUTSIDE, *_BLOCKS], classes="head.fc.weight")


_WIDTHS = {"tiny": ("t", 192), "small": ("s", 384)}
_HEADS = {
    ("tiny", "cifar"): 4,
    ("small", "cifar"): 8,
    ("tiny", "domain"): 4,
    ("small", "domain"): 6,
    ("tiny", "imagenet"): 3,
    ("small", "imagenet"): 6,
}
_VARIANTS = {
    "cifar_patch2": ("-p2", "cifar100"),
    "cifar_patch4": ("-p4", "cifar100"),
    "domain_patch16": ("", "clipart"),
    "imagenet_patch16": ("", "in1k"),
}


def _models() -> dict[str, tuple]:
    models = {}
    for size, (letter, width) in _WIDTHS.items():
        for variant, (infix, dataset) in _VARIANTS.items():
            kind, architecture = variant.split("_")
            shapes = {"blocks.0.attn.pos_embed": (1, _HEADS[size, kind], width)}
            config = f"dhvt/dhvt-{letter}{infix}_{dataset}.py"
            models[f"dhvt_{size}_{variant}"] = (architecture, config, shapes)
    return models


SYSTEM = System(
    "dhvt",
    architectures=[_classifier(patch_size) for patch_size in (16, 4, 2)],
    models=_models(),
)
