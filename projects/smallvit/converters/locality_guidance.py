"""Checkpoints of tiny-transformers: students and teachers of locality guidance."""

from .grouping import tiny_groups
from .keymap import KeyMap, Rule
from .system import System
from .tiny_plain import deit, t2t

_HEAD = Rule("head.{affine}", "head.fc.{affine}")
_CLASSES = "head.fc.weight"


def _same(official: str, ours: str, *keys: str) -> list[Rule]:
    """Rules for keys that differ only in their prefix."""
    return [Rule(f"{official}.{key}", f"{ours}.{key}") for key in keys]


def _together(official: str, ours: str, *keys: str) -> Rule:
    """Rule for optional keys of which a block has all or none."""
    return Rule(
        tuple(f"{official}.{key}" for key in keys),
        tuple(f"{ours}.{key}" for key in keys),
        optional=True,
    )


_NORMS_AND_MLP = ("norm1.{affine}", "norm2.{affine}", "mlp.fc1.{affine}", "mlp.fc2.{affine}")
_REDUCED_ATTENTION = ("attn.q.{affine}", "attn.kv.{affine}", "attn.proj.{affine}")
_REDUCTION = ("attn.sr.weight", "attn.sr.bias", "attn.norm.weight", "attn.norm.bias")


def _pvt() -> KeyMap:
    block, ours = "block{stage+1}.{block}", "backbone.stages.{stage}.blocks.{block}"
    rules = [
        Rule("cls_token", "backbone.stages.3.cls_token"),
        Rule("pos_embed{stage+1}", "backbone.stages.{stage}.pos_embed"),
        *_same("patch_embed{stage+1}", "backbone.stages.{stage}", "proj.{affine}", "norm.{affine}"),
        *_same(block, ours, *_NORMS_AND_MLP, *_REDUCED_ATTENTION),
        _together(block, ours, *_REDUCTION),
        Rule("norm.{affine}", "backbone.norm.{affine}"),
        _HEAD,
    ]
    return KeyMap("pvt", rules, classes=_CLASSES)


def _pvtv2() -> KeyMap:
    block, ours = (
        "block{stage+1}.{block}",
        "backbone.timm_model.stages.{stage}.blocks.{block}",
    )
    embed = ("proj.{affine}", "norm.{affine}")
    rules = [
        *_same("patch_embed1", "backbone.timm_model.patch_embed", *embed),
        *_same("patch_embed{merge+2}", "backbone.timm_model.stages.{merge+1}.downsample", *embed),
        *_same(block, ours, *_NORMS_AND_MLP, *_REDUCED_ATTENTION),
        Rule(f"{block}.mlp.dwconv.dwconv.{{affine}}", f"{ours}.mlp.dwconv.{{affine}}"),
        _together(block, ours, *_REDUCTION),
        Rule("norm{stage+1}.{affine}", "backbone.timm_model.stages.{stage}.norm.{affine}"),
        _HEAD,
    ]
    return KeyMap("pvtv2", rules, {"merge": ("stage", -1)}, classes=_CLASSES)


def _cvt() -> KeyMap:
    block, ours = "stage{stage}.blocks.{block}", "backbone.stages.{stage}.blocks.{block}"
    attention = [
        rule
        for name in "qkv"
        for rule in (
            Rule(
                f"{block}.attn.conv_proj_{name}.conv.weight", f"{ours}.attn.conv_{name}.conv.weight"
            ),
            Rule(f"{block}.attn.conv_proj_{name}.bn.{{bn}}", f"{ours}.attn.conv_{name}.bn.{{bn}}"),
            Rule(f"{block}.attn.proj_{name}.{{affine}}", f"{ours}.attn.{name}.{{affine}}"),
        )
    ]
    rules = [
        Rule("stage2.cls_token", "backbone.stages.2.cls_token"),
        *_same(
            "stage{stage}.patch_embed", "backbone.stages.{stage}", "proj.{affine}", "norm.{affine}"
        ),
        *attention,
        *_same(block, ours, *_NORMS_AND_MLP, "attn.proj.{affine}"),
        Rule("norm.{affine}", "backbone.norm.{affine}"),
        _HEAD,
    ]
    return KeyMap("cvt", rules, classes=_CLASSES)


def _pit() -> KeyMap:
    block = "transformers.{stage}.blocks.{block}"
    ours = f"backbone.timm_model.{block}"
    rules = [
        *[
            Rule(key, f"backbone.timm_model.{key}")
            for key in ("pos_embed", "cls_token", "patch_embed.conv.{affine}", "norm.{affine}")
        ],
        *_same(block, ours, *_NORMS_AND_MLP),
        Rule(f"{block}.attn.qkv_transform.{{affine}}", f"{ours}.attn.qkv.{{affine}}"),
        Rule(f"{block}.attn.projection.{{affine}}", f"{ours}.attn.proj.{{affine}}"),
        *_same(
            "pools.{pool}",
            "backbone.timm_model.transformers.{pool+1}.pool",
            "conv.{affine}",
            "fc.{affine}",
        ),
        _HEAD,
    ]
    return KeyMap("pit", rules, {"pool": ("stage", -1)}, classes=_CLASSES)


def _convit() -> KeyMap:
    ours = "backbone.timm_model.blocks.{block}"
    gated = ("qk.weight", "v.weight", "pos_proj.weight", "pos_proj.bias", "gating_param")
    rules = [
        *[
            Rule(key, f"backbone.timm_model.{key}")
            for key in ("pos_embed", "cls_token", "patch_embed.proj.{affine}", "norm.{affine}")
        ],
        *_same("blocks.{block}", ours, *_NORMS_AND_MLP, "attn.proj.{affine}"),
        _together("blocks.{block}.attn", f"{ours}.attn", *gated),
        _together("blocks.{block}.attn", f"{ours}.attn", "qkv.weight"),
        _HEAD,
    ]
    return KeyMap("convit", rules, classes=_CLASSES)


def _residual_stage(official: str, ours: str, projected: bool) -> list[Rule]:
    block, target = f"{official}.b{{block+1}}", f"{ours}.{{block}}"
    rules = []
    for name, number in (("a", 1), ("b", 2)):
        rules += [
            Rule(f"{block}.f.{name}.weight", f"{target}.conv{number}.weight"),
            Rule(f"{block}.f.{name}_bn.{{bn}}", f"{target}.bn{number}.{{bn}}"),
        ]
    if projected:
        rules += [
            Rule(f"{official}.b1.proj.weight", f"{ours}.0.downsample.0.weight"),
            Rule(f"{official}.b1.bn.{{bn}}", f"{ours}.0.downsample.1.{{bn}}"),
        ]
    return rules


def _resnet(name: str, stages: list[str]) -> KeyMap:
    rules = [
        Rule("stem.conv.weight", "backbone.conv1.weight"),
        Rule("stem.bn.{bn}", "backbone.bn1.{bn}"),
        Rule("head.fc.{affine}", "head.fc.{affine}"),
    ]
    for index, ours in enumerate(stages):
        rules += _residual_stage(f"s{index + 1}", f"backbone.{ours}", projected=index > 0)
    return KeyMap(name, rules, classes=_CLASSES)


def _models() -> dict[str, tuple]:
    # Name of the YAML file: (architecture, our config, shapes that only this model has)
    students = {
        "pvt-ti": ("pvt", "pvt-ti", {"patch_embed4.proj.weight": (512, 320, 2, 2)}),
        "pvtv2-b0": ("pvtv2", "pvtv2-b0", {"patch_embed4.proj.weight": (256, 160, 3, 3)}),
        "cvt-13": ("cvt", "cvt-13", {"stage2.blocks.9.norm1.weight": (384,)}),
        "pit-ti": ("pit", "pit-ti", {"patch_embed.conv.weight": (64, 3, 16, 16)}),
        "convit-ti": ("convit", "convit-ti", {"pos_embed": (1, 196, 192)}),
        "deit-ti": ("deit", "deit-ti", {"pos_embed": (1, 197, 192)}),
        "t2t-7": ("t2t", "t2t-vit-7", {"pos_embed": (1, 197, 256)}),
        "t2t-14": ("t2t", "t2t-vit-14", {"pos_embed": (1, 197, 384)}),
    }
    teachers = {
        "r-56": ("cifar-resnet", "resnet-56", {"s3.b9.f.b.weight": (64, 64, 3, 3)}),
        "r-18": ("resnet", "resnet-18", {"s4.b2.f.b.weight": (512, 512, 3, 3)}),
    }
    models = {}
    for name, (architecture, ours, shapes) in students.items():
        # Checkpoints do not contain the guidance, so plain and guided students convert alike.
        for suffix, form in (("base", ""), ("ours", "_guided")):
            config = f"locality_guidance/{ours}{form}_cifar100.py"
            models[f"{name}_c100_{suffix}"] = (architecture, config, shapes)
    architecture, _, shapes = models["deit-ti_c100_ours"]
    config = "locality_guidance/deit-ti_guided-offline_cifar100.py"
    models["deit-ti_c100_ours_offline"] = (architecture, config, shapes)
    for name, (architecture, ours, shapes) in teachers.items():
        models[f"{name}_c100"] = (architecture, f"locality_guidance/{ours}_cifar100.py", shapes)
    return models


SYSTEM = System(
    "locality_guidance",
    architectures=[
        _pvt(),
        _pvtv2(),
        _cvt(),
        _pit(),
        _convit(),
        deit(),
        deit(distilled=True),
        t2t(),
        _resnet("cifar-resnet", [f"stages.{stage}" for stage in range(3)]),
        _resnet("resnet", [f"layer{stage}" for stage in range(1, 5)]),
    ],
    models=_models(),
    grouping=tiny_groups,
)
