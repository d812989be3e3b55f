"""Set the number of classes and channels in a model's config."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from smallvit.errors import UserError
from smallvit.utils.configs import walk

#: Keys of the heads of classifiers, detectors and segmentors.
HEADS = ("head", "bbox_head", "mask_head", "roi_head", "decode_head", "auxiliary_head")
#: Data preprocessors of MMPretrain that do not accept ``num_classes``.
_WITHOUT_CLASSES = (
    "SelfSupDataPreprocessor",
    "TwoNormDataPreprocessor",
    "VideoDataPreprocessor",
    "MultiModalDataPreprocessor",
)


def set_classes(cfg: Config, count: int) -> None:
    """Set the number of classes of a model's heads, and of its preprocessor if it takes it.

    Args:
        cfg (Config): A full config of any task, changed in place.
        count (int): Number of classes.
    """
    model = _unwrapped(cfg)
    nodes = [node for _, node in walk({key: model.get(key) for key in HEADS})]
    heads = [n for n in nodes if hasattr(n, "get") and n.get("num_classes") is not None]
    for node in heads:
        node.num_classes = count
    for owner in (cfg, model):
        preprocessor = owner.get("data_preprocessor")
        if preprocessor is None:
            continue
        if _counts_classes(preprocessor, bool(heads)):
            preprocessor.num_classes = count
        else:
            preprocessor.pop("num_classes", None)  # inherited from a classifier's


def _counts_classes(preprocessor: ConfigDict, classifies: bool) -> bool:
    """Whether a preprocessor takes the number of classes; a self-supervised model has none."""
    kind = str(preprocessor.get("type") or "").rpartition(".")[2]
    if kind in _WITHOUT_CLASSES:
        return False
    known = "num_classes" in preprocessor or kind == "ClsDataPreprocessor"
    return known if kind else classifies


def set_channels(cfg: Config, count: int) -> None:
    """Set the number of input channels of a model's backbone and of its preprocessor.

    Mean and standard deviation become the average of those in the config.

    Args:
        cfg (Config): A full config of any task, changed in place.
        count (int): Number of channels of the images.

    Raises:
        UserError: If no network of the backbone accepts ``in_channels``.
    """
    model = _unwrapped(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        networks = list(_networks(model.backbone))
    if not networks:
        raise UserError(f"{model.backbone.get('type')} has no in_channels and requires three")
    for network in networks:
        network.in_channels = count
    for owner in (cfg, model):
        preprocessor = owner.get("data_preprocessor") or {}
        for key in ("mean", "std"):
            values = preprocessor.get(key)
            if values is not None and len(values) != count:
                preprocessor[key] = [sum(values) / len(values)] * count
        for key in ("to_rgb", "bgr_to_rgb"):
            if preprocessor.get(key) and count != 3:
                preprocessor[key] = False


def channels_of(cfg: Config | dict) -> int:
    """Get the number of channels of the images that a model reads.

    Args:
        cfg (Config | dict): A full config of any task.

    Returns:
        int: ``in_channels`` of its backbone; 3 if the config does not contain it.
    """
    backbone = _unwrapped(cfg).get("backbone") or {}
    network = next(iter(backbone.get("exits") or [backbone]))
    return network.get("in_channels", 3)


def _unwrapped(cfg: Config | dict) -> ConfigDict:
    model = cfg["model"]
    while "module" in model:  # wrapped for test-time augmentation
        model = model["module"]
    return model


def _networks(backbone: ConfigDict) -> Iterator[ConfigDict]:
    """Configs of the networks in a backbone that read images; the exits of a cascade."""
    exits = backbone.get("exits")
    if exits:
        for each in exits:
            yield from _networks(each)
    elif "host" in backbone:  # the shortcut forwards arguments to its host
        if _takes_channels(backbone.host):
            yield backbone
    elif _takes_channels(backbone.get("type")):
        yield backbone


def _takes_channels(kind: Any) -> bool:
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind is not None and any(
        "in_channels" in signature(cls.__init__).parameters for cls in kind.__mro__
    )
