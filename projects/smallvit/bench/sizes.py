"""Networks of one size: the width at which a network of the bench comes next to a target.

A width is the number of channels of a network's first stage. All else keeps its proportion: the
hidden layers of a transformer, the later stages of a pyramid, the exits of a cascade.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmengine.config import ConfigDict

from smallvit.bench.methods import BASES, Method

#: A network within this part of the target is as large as the target.
TOLERANCE = 0.1
#: Parameters of a network where the user names none, by the tier of the images: those between
#: the mini networks, and those of DeiT-Ti.
TARGETS = {"small": 0.25e6, "large": 5.7e6}
#: How the sizes are decided: by one of two counts, or not at all.
PARAMS, FLOPS, PUBLISHED = "params", "flops", "published"
#: Widest network that is tried.
MOST_STEPS = 1 << 10


@dataclass(frozen=True)
class Fitted:
    """A network and how large it is.

    Args:
        width (int): Channels of its first stage; 0 if it stays as its config has it.
        size (float): Parameters or FLOPs at this width.
    """

    width: int
    size: float


def can_widen(method: Method) -> bool:
    """Tell whether the bench may choose the width of a network.

    Args:
        method (Method): Parsed method.

    Returns:
        bool: False for models of timm and of the user's own configs, which stay as they are.
    """
    return method.base in BASES


def step_of(model: Mapping) -> int:
    """Tell by how much the width of a network can change.

    Args:
        model (Mapping): The model's config, without additions.

    Returns:
        int: Channels.
    """
    backbone = model["backbone"]
    kind = _kind(backbone)
    if kind in ("ResNet", "CifarResNet"):
        return 1
    if kind == "DWNet":
        return 2
    # Heads are alike, and the convolutional patch embedding of DHVT halves the channels.
    steps = [
        math.lcm(_transformer(part)["num_heads"], max(2, part.get("patch_size", 2) // 2))
        for part in _parts(backbone)
    ]
    return math.lcm(*steps)


def _kind(backbone: Mapping) -> str:
    return backbone["type"].rpartition(".")[2]


def _parts(backbone: Mapping) -> Sequence[Mapping]:
    """A network, or the exits of a cascade."""
    return backbone["exits"] if _kind(backbone) == "DynamicViT" else [backbone]


def _transformer(backbone: Mapping) -> dict:
    """Numbers of a transformer, where its config has their name alone too."""
    arch = backbone["arch"]
    if not isinstance(arch, str):
        return dict(arch)
    from mmpretrain.models.backbones import VisionTransformer

    from smallvit.backbones import DHVT, T2TViT

    kinds = {"VisionTransformer": VisionTransformer, "DHVT": DHVT, "T2TViT": T2TViT}
    return dict(kinds[_kind(backbone)].arch_zoo[arch])


def width_of(model: Mapping) -> int:
    """Tell the width of a network as its config has it.

    Args:
        model (Mapping): The model's config.

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


def widen(model: ConfigDict, width: int) -> None:
    """Give a network another width.

    Args:
        model (ConfigDict): The model's config, without additions, changed in place.
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
    """Find the width at which a network is nearest to a target.

    Args:
        measure (Callable): Takes a width (0 for that of the config) and returns the size, which
            grows with the width, and about with its square.
        step (int): Widths are multiples of it.
        target (float): The size that is wanted.
        published (int): Width of the config.

    Returns:
        Fitted: The width of the config if it is near enough, else the best.
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
