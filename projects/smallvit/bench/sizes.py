"""Scaling of networks to equal size: the width at which a network is nearest to a target.

The width is the number of channels of a network's first stage. Everything else is scaled in
proportion: the hidden layers of a transformer, the later stages of a pyramid, the exits of a
cascade.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmengine.config import ConfigDict

from smallvit.bench.methods import BASES, Method

#: Relative tolerance within which a size counts as equal to the target.
TOLERANCE = 0.1
#: Default number of parameters by the tier of the images: a value between those of the mini
#: networks, and that of DeiT-Ti.
TARGETS = {"small": 0.25e6, "large": 5.7e6}
#: Measures of size: parameters, FLOPs, or no scaling.
PARAMS, FLOPS, PUBLISHED = "params", "flops", "published"
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
    return method.base in BASES


def step_of(model: Mapping) -> int:
    """Compute the step by which the width of a network can change.

    Args:
        model (Mapping): Config of the model, without additions.

    Returns:
        int: Number of channels.
    """
    backbone = model["backbone"]
    kind = _kind(backbone)
    if kind in ("ResNet", "CifarResNet"):
        return 1
    if kind == "DWNet":
        return 2
    # All heads have the same width, and DHVT's convolutional patch embedding halves the channels.
    steps = [
        math.lcm(_transformer(part)["num_heads"], max(2, part.get("patch_size", 2) // 2))
        for part in _parts(backbone)
    ]
    return math.lcm(*steps)


def _kind(backbone: Mapping) -> str:
    return backbone["type"].rpartition(".")[2]


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
    return _transformer(_parts(backbone)[0])["embed_dims"]


def _pyramid(backbone: Mapping) -> dict:
    from smallvit.backbones import DWNet

    arch = backbone["arch"]
    return dict(DWNet.arch_zoo[arch] if isinstance(arch, str) else arch)


def set_width(model: ConfigDict, width: int) -> None:
    """Change the width of a network.

    Args:
        model (ConfigDict): Config of the model, without additions, changed in place.
        width (int): Channels of its first stage; a multiple of :func:`step_of`.
    """
    backbone = model.backbone
    kind = _kind(backbone)
    if kind in ("ResNet", "CifarResNet"):
        before = width_of(model)
        backbone.base_channels = width
        if kind == "ResNet":
            backbone.stem_channels = width
        model.head.in_channels = model.head.in_channels * width // before
        return
    model.head.in_channels = width
    if kind == "DWNet":
        arch = _pyramid(backbone)
        backbone.arch = ConfigDict(arch, embed_dims=width)
        model.head.in_channels = width * 2 ** (len(arch["depths"]) - 1)
        return
    for part in _parts(backbone):
        arch = _transformer(part)
        ratio = arch["feedforward_channels"] / arch["embed_dims"]
        hidden = round(ratio * width)
        part.arch = ConfigDict(arch, embed_dims=width, feedforward_channels=hidden)


def find_width(measure: Callable[[int], float], step: int, target: float, published: int) -> Fitted:
    """Find the width at which a network is nearest to a target size.

    Args:
        measure (Callable): Function that returns the size for a width (0 for that of the
            config); the size increases with the width, approximately quadratically.
        step (int): Divisor of all widths.
        target (float): Target size.
        published (int): Width of the config.

    Returns:
        Fitted: Width of the config if it is within the tolerance, else the best width.
    """
    as_published = measure(0)
    if abs(as_published / target - 1) <= TOLERANCE:
        return Fitted(0, as_published)
    guess = published * math.sqrt(target / as_published) / step
    steps = max(1, min(MOST_STEPS, round(guess)))
    size = measure(steps * step)
    way = 1 if size < target else -1
    while True:
        beyond = steps + way
        if not 1 <= beyond <= MOST_STEPS:
            return Fitted(steps * step, size)
        following = measure(beyond * step)
        if _miss(following, target) >= _miss(size, target):
            return Fitted(steps * step, size)
        steps, size = beyond, following


def _miss(size: float, target: float) -> float:
    return max(size / target, target / size)
