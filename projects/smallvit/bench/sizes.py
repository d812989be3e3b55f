"""Scaling of networks to equal size: the width at which a network is nearest to a target.

The width is the number of channels of a network's first stage. Everything else is scaled in
proportion: the hidden layers of a transformer, the later stages of a pyramid, the exits of a
cascade. Detectors and segmentors count as a whole; the channels of their necks and heads are not
scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from mmengine.config import ConfigDict

from smallvit.bench.methods import BASES, DENSE_ONLY, Method

#: Relative tolerance within which a size counts as equal to the target.
TOLERANCE = 0.1
#: Default number of parameters by the tier of the images or the task: values between those of the
#: mini networks, and that of DeiT-Ti.
TARGETS = {"small": 0.25e6, "large": 5.7e6, "detection": 2e6, "segmentation": 2e6}
#: Measures of size: parameters, FLOPs, or no scaling.
PARAMS, FLOPS, PUBLISHED = "params", "flops", "published"
#: Pyramids of transformers, with a number of heads for each stage.
PYRAMIDS = ("SwinTransformer", "CvT")
#: Parts of a model that read the outputs of the backbone, besides the neck.
HEADS = ("head", "decode_head", "auxiliary_head")
#: Maximum width, in steps.
MOST_STEPS = 1 << 10


@dataclass(frozen=True)
class Fitted:
    """Width and size of a network.

    Args:
        width (int): Channels of its first stage; 0 for the width of its config.
        size (float): Parameters or FLOPs at this width.
    """

    width: int
    size: float


def can_widen(method: Method) -> bool:
    """Check whether the bench may scale the width of a network.

    Args:
        method (Method): Parsed method.

    Returns:
        bool: False for models of timm and of user configs, which are not scaled.
    """
    return method.base in (*BASES, *DENSE_ONLY)


def step_of(model: Mapping) -> int:
    """Compute the step by which the width of a network can change.

    Args:
        model (Mapping): Config of the model.

    Returns:
        int: Number of channels.
    """
    backbone = model["backbone"]
    kind = _kind(backbone)
    if kind in ("ResNet", "CifarResNet"):
        return 1
    if kind == "DWNet":
        return 2
    if kind in PYRAMIDS:
        dims = _dims(backbone)
        stages = zip(_heads(backbone), dims, strict=True)
        return math.lcm(2, *(heads // math.gcd(heads, dim // dims[0]) for heads, dim in stages))
    # All heads have the same width, and DHVT's convolutional patch embedding halves the channels.
    steps = [
        math.lcm(_transformer(part)["num_heads"], max(2, part.get("patch_size", 2) // 2))
        for part in _parts(backbone)
    ]
    return math.lcm(*steps)


def _kind(backbone: Mapping) -> str:
    """Class name of the network, also within the shortcut."""
    return backbone.get("host", backbone["type"]).rpartition(".")[2]


def _dims(backbone: Mapping) -> list[int]:
    """Channels of the stages of a pyramid of transformers."""
    if _kind(backbone) == "SwinTransformer":
        return [backbone["embed_dims"] * 2**stage for stage in range(len(backbone["depths"]))]
    return list(backbone["arch"]["embed_dims"])


def _heads(backbone: Mapping) -> list[int]:
    of = backbone if _kind(backbone) == "SwinTransformer" else backbone["arch"]
    return list(of["num_heads"])


def _parts(backbone: Mapping) -> Sequence[Mapping]:
    """Configs of the exits of a cascade, or of the network itself."""
    return backbone["exits"] if _kind(backbone) == "DynamicViT" else [backbone]


def _transformer(backbone: Mapping) -> dict:
    """Settings of a transformer, looked up if its config has a name only."""
    arch = backbone["arch"]
    if not isinstance(arch, str):
        return dict(arch)
    from mmpretrain.models.backbones import VisionTransformer

    from smallvit.backbones import DHVT, T2TViT

    kinds = {"VisionTransformer": VisionTransformer, "DHVT": DHVT, "T2TViT": T2TViT}
    return dict(kinds[_kind(backbone)].arch_zoo[arch])


def width_of(model: Mapping) -> int:
    """Get the width of a network in its config.

    Args:
        model (Mapping): Config of the model.

    Returns:
        int: Channels of its first stage.
    """
    backbone = model["backbone"]
    kind = _kind(backbone)
    if kind in ("ResNet", "CifarResNet"):
        return backbone.get("base_channels", 64 if kind == "ResNet" else 16)
    if kind == "DWNet":
        return _pyramid(backbone)["embed_dims"]
    if kind in PYRAMIDS:
        return _dims(backbone)[0]
    return _transformer(_parts(backbone)[0])["embed_dims"]


def _pyramid(backbone: Mapping) -> dict:
    from smallvit.backbones import DWNet

    arch = backbone["arch"]
    return dict(DWNet.arch_zoo[arch] if isinstance(arch, str) else arch)


def set_width(model: ConfigDict, width: int) -> None:
    """Change the width of a network, and the input channels of the parts that read its outputs.

    Args:
        model (ConfigDict): Config of the model, changed in place.
        width (int): Channels of its first stage; a multiple of :func:`step_of`.
    """
    before = width_of(model)
    _widen(model.backbone, width)
    necks = model.get("neck") or []
    readers = necks if isinstance(necks, list) else [necks]
    readers = [*readers, *(model[key] for key in HEADS if model.get(key))]
    for reader in readers:
        for key in ("in_channels", "embed_dim"):
            if key in reader:
                reader[key] = _scaled(reader[key], width, before)


def _scaled(channels: int | Sequence[int], width: int, before: int) -> int | list[int]:
    if isinstance(channels, int):
        return channels * width // before
    return [each * width // before for each in channels]


def _widen(backbone: ConfigDict, width: int) -> None:
    kind = _kind(backbone)
    if kind in ("ResNet", "CifarResNet"):
        backbone.base_channels = width
        if kind == "ResNet":
            backbone.stem_channels = width
    elif kind == "DWNet":
        backbone.arch = ConfigDict(_pyramid(backbone), embed_dims=width)
    elif kind == "SwinTransformer":
        backbone.embed_dims = width
    elif kind == "CvT":
        dims = _dims(backbone)
        backbone.arch.embed_dims = tuple(_scaled(dims, width, dims[0]))
    else:
        for part in _parts(backbone):
            arch = _transformer(part)
            ratio = arch["feedforward_channels"] / arch["embed_dims"]
            hidden = round(ratio * width)
            part.arch = ConfigDict(arch, embed_dims=width, feedforward_channels=hidden)


def find_width(measure: Callable[[int], float], step: int, target: float, published: int) -> Fitted:
    """Find the width at which a network is nearest to a target size.

    Args:
        measure (Callable): Function that returns the size for a width (0 for that of the
            config); the size increases with the width.
        step (int): Divisor of all widths.
        target (float): Target size.
        published (int): Width of the config.

    Returns:
        Fitted: Width of the config if it is within the tolerance, else the best width.
    """
    as_published = measure(0)
    if abs(as_published / target - 1) <= TOLERANCE:
        return Fitted(0, as_published)
    size_of = cache(lambda steps: measure(steps * step))
    guess = published * math.sqrt(target / as_published) / step
    near = max(1, min(MOST_STEPS, round(guess)))
    below = size_of(near) < target
    # The guess is far off if the necks and heads are a large part of the size.
    stride = 1
    while True:
        far = max(1, min(MOST_STEPS, near + (stride if below else -stride)))
        if far == near:
            return Fitted(near * step, size_of(near))
        if (size_of(far) < target) != below:
            break
        near, stride = far, 2 * stride
    while abs(far - near) > 1:
        middle = (near + far) // 2
        if (size_of(middle) < target) == below:
            near = middle
        else:
            far = middle
    best = min((near, far), key=lambda steps: _miss(size_of(steps), target))
    return Fitted(best * step, size_of(best))


def _miss(size: float, target: float) -> float:
    return max(size / target, target / size)
