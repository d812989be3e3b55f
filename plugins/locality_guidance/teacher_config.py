"""Read the network and the preprocessing of a teacher from a config."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

TIMM = "timm:"
#: Arguments of MMPretrain's TimmClassifier that are not passed to timm.
_OF_CLASSIFIER = ("loss", "train_cfg", "with_cp", "data_preprocessor", "init_cfg", "num_classes")


@dataclass
class TeacherConfig:
    """Configuration of a teacher before it is built.

    Args:
        network (dict): Config of a backbone, or of a classifier with one.
        preprocessor (dict, optional): ``mean``, ``std`` and ``to_rgb`` of the input.
        pretrained (bool): Whether to load pretrained weights of timm.
    """

    network: dict
    preprocessor: dict | None
    pretrained: bool = False


def read_config(model: dict | str, size: tuple[int, int] | None, classifies: bool) -> TeacherConfig:
    """Read the configuration of a teacher.

    Args:
        model (dict | str): Config of a classifier or backbone; a config file, by path or as
            "smallvit::folder/name.py"; or "timm:name".
        size (tuple[int, int], optional): Height and width of the input.
        classifies (bool): Whether the head is needed too.

    Returns:
        TeacherConfig: Network and preprocessing.

    Raises:
        ValueError: If the config has no backbone, or its maps cannot be read.
    """
    if isinstance(model, str) and model.startswith(TIMM):
        return _of_timm(model.removeprefix(TIMM), size)
    preprocessor = scope = None
    if isinstance(model, str):
        cfg = get_config(model) if "::" in model else Config.fromfile(model)
        model, preprocessor = cfg.model, cfg.get("data_preprocessor")
        scope = cfg.get("default_scope")
    model = _plain(deepcopy(dict(model)))
    preprocessor = model.get("data_preprocessor", preprocessor)
    network = model if classifies else model.get("backbone", model)
    kind = network.get("type")
    if kind is None:
        raise ValueError(f"guidance.teacher.model has no backbone with a type: {model}")
    if _name(kind) == "HuggingFaceClassifier":
        raise ValueError(
            "HuggingFaceClassifier is not supported as a teacher, because transformers does not "
            "describe its feature maps. timm has most of the same networks: "
            "guidance.teacher.model='timm:NAME'"
        )
    if _name(kind) == "TimmClassifier" and not classifies:
        given = {key: value for key, value in network.items() if key not in _OF_CLASSIFIER}
        network = {**given, "type": "smallvit.TimmBackbone"}
        if "in_chans" in network:
            network["in_channels"] = network.pop("in_chans")
    # Weights are loaded when training starts, never for a model that is only tested.
    pretrained = _name(kind) in ("TimmBackbone", "TimmClassifier", "TIMMBackbone")
    pretrained = bool(network.pop("pretrained", False)) if pretrained else False
    if _name(kind) == "TIMMBackbone":  # mmseg's class would download weights when it is built
        network["pretrained"] = False
    preprocessor = _of_images(preprocessor)
    if pretrained and preprocessor is None:
        preprocessor = _images_of_timm(network.get("model_name"))
    network.setdefault("_scope_", scope or "mmpretrain")
    return TeacherConfig(network, preprocessor, pretrained)


def _of_timm(name: str, size: tuple[int, int] | None) -> TeacherConfig:
    from timm.models import get_pretrained_cfg

    network = dict(type="smallvit.TimmBackbone", model_name=name, out_type="featmap")
    known = get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size and size is not None:
        network["img_size"] = size if size[0] != size[1] else size[0]
    network["_scope_"] = "mmpretrain"
    return TeacherConfig(network, _images_of_timm(name), pretrained=True)


def _images_of_timm(name: str | None) -> dict | None:
    """Read the normalization of a timm model, scaled to pixel values from 0 to 255."""
    from timm.models import get_pretrained_cfg

    known = None if name is None else get_pretrained_cfg(name)
    if known is None:
        return None
    mean, std = ([255 * value for value in each] for each in (known.mean, known.std))
    return dict(mean=mean, std=std, to_rgb=True)


def _plain(model: dict) -> dict:
    """Remove the guidance from the config of a guided classifier."""
    if model.pop("guidance", None) is not None:
        model["type"] = model.pop("base", "mmpretrain.ImageClassifier")
    return model


def _of_images(preprocessor: dict | None) -> dict | None:
    """Return the config of a preprocessor if it normalizes, else None."""
    given = preprocessor or {}
    return preprocessor if given.get("mean") is not None and given.get("std") is not None else None


def _name(kind: Any) -> str:
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
