"""What a config says of a teacher: its network, and the images that it was trained on."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

TIMM = "timm:"
#: Settings of MMPretrain's TimmClassifier that are not timm's.
_OF_CLASSIFIER = ("loss", "train_cfg", "with_cp", "data_preprocessor", "init_cfg", "num_classes")


@dataclass
class TeacherConfig:
    """What is known of a teacher before it is built.

    Args:
        network (dict): Config of a backbone, or of a classifier with one.
        preprocessor (dict, optional): ``mean``, ``std`` and ``to_rgb`` of its images.
        pretrained (bool): Whether timm has its weights.
    """

    network: dict
    preprocessor: dict | None
    pretrained: bool = False


def read_config(model: dict | str, size: tuple[int, int] | None, classifies: bool) -> TeacherConfig:
    """Read what a config says of a teacher.

    Args:
        model (dict | str): Config of a classifier or backbone; a config file, by path or as
            "smallvit::folder/name.py"; or "timm:name".
        size (tuple[int, int], optional): Height and width of its images.
        classifies (bool): Whether its head is wanted too.

    Returns:
        TeacherConfig: Its network and preprocessing.

    Raises:
        ValueError: If it has no backbone, or one that cannot be read.
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
            "a HuggingFaceClassifier cannot teach, because transformers tells nothing of its maps; "
            "timm has most of the same networks: guidance.teacher.model='timm:NAME'"
        )
    if _name(kind) == "TimmClassifier" and not classifies:
        given = {key: value for key, value in network.items() if key not in _OF_CLASSIFIER}
        network = {**given, "type": "smallvit.TimmBackbone"}
        if "in_chans" in network:
            network["in_channels"] = network.pop("in_chans")
    # Weights are read when a training begins, never by a model that is only tested.
    pretrained = _name(kind) in ("TimmBackbone", "TimmClassifier", "TIMMBackbone")
    pretrained = bool(network.pop("pretrained", False)) if pretrained else False
    if _name(kind) == "TIMMBackbone":  # mmseg's would fetch them as soon as it is built
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
    """How timm normalizes the images of a model, for pixels from 0 to 255."""
    from timm.models import get_pretrained_cfg

    known = None if name is None else get_pretrained_cfg(name)
    if known is None:
        return None
    mean, std = ([255 * value for value in each] for each in (known.mean, known.std))
    return dict(mean=mean, std=std, to_rgb=True)


def _plain(model: dict) -> dict:
    """The config of the classifier in one of ours that is guided itself."""
    if model.pop("guidance", None) is not None:
        model["type"] = model.pop("base", "mmpretrain.ImageClassifier")
    return model


def _of_images(preprocessor: dict | None) -> dict | None:
    """A preprocessing, if it normalizes."""
    given = preprocessor or {}
    return preprocessor if given.get("mean") is not None and given.get("std") is not None else None


def _name(kind: Any) -> str:
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
