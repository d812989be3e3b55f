"""Find the base config and the network for a model name and a data format."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config, ConfigDict

from smallvit.apis.zoo import find_config_of, list_models, task_of
from smallvit.engine.config_files import read_config
from smallvit.errors import UserError
from smallvit.utils.configs import walk

FORMS = ("folder", "custom-coco", "custom-boxes", "custom-masks")
#: Up to this image size, networks with small patches are chosen.
SMALL = 64
#: Common short names of models, and their names here.
SHORT = {
    "dhvt": "dhvt-t",
    "dwnet": "dwnet-t",
    "swin": "swin-t_shortcut",
    "vit": "vit-t_shortcut",
    "cvt": "cvt-13",
    "pvtv2": "pvtv2-b0",
    "dvt": "dvt-t2t-12",
    "deit": "deit-ti",
    "resnet": "resnet-56",
}
#: Configs whose data, schedule and heads are used for networks without a config of their own.
GENERIC = {
    "folder": "deit-ti_folder",
    "custom-coco": "pvtv2-b0_custom-coco",
    "custom-boxes": "pvtv2-b0_custom-boxes",
    "custom-masks": "pvtv2-b0_custom-masks",
}
_TASKS = {"folder": "classification", "custom-masks": "segmentation"}
TIMM, MMPRETRAIN = "timm:", "mmpretrain:"


@dataclass
class Chosen:
    """Model and base config for a data format.

    Args:
        name (str): Name given by the user.
        base (str): Config to inherit from, such as "smallvit::folder/name.py".
        model (dict, optional): Replacement for the model of the base. Defaults to None.
        changes (dict, optional): Changes to merge into the model of the base. Defaults to None.
        weights (str, optional): Location of official weights, for ``--pretrained`` without a
            file. Defaults to None.
        note (str): Message for the user. Defaults to "".
    """

    name: str
    base: str
    model: dict | None = None
    changes: dict | None = None
    weights: str | None = None
    note: str = ""


def choose_model(name: str, form: str, size: int) -> Chosen:
    """Find the config that trains a model on a data format.

    Args:
        name (str): A name from :func:`smallvit.list_models`, a short name such as ``dhvt-t``,
            ``timm:NAME`` or ``mmpretrain:NAME``.
        form (str): ``folder``, ``custom-coco``, ``custom-boxes`` or ``custom-masks``.
        size (int): Height and width of the images, used for class folders.

    Returns:
        Chosen: Base config, and changes to its model.

    Raises:
        UserError: If the model is unknown, or does not support the task.
    """
    if name.startswith(TIMM):
        return _of_timm(name, form, size)
    if name.startswith(MMPRETRAIN):
        return _of_mmpretrain(name, form)
    short = SHORT.get(name, name)
    known = set(list_models())
    for stem in _stems(short, form, size):
        if stem in known:
            return Chosen(name, _address(stem))
    if short in known:
        return _of_ours(name, short, form)
    others = [one for one in FORMS if set(_stems(short, one, 224)) & known]
    if others:
        can = ", ".join(sorted(trainable(form)))
        raise UserError(
            f"{name} has no config for this data ({form}), only for {', '.join(others)}. Choose "
            f"one of {can}"
        )
    near = get_close_matches(short, [*known, *SHORT, *trainable(form)], n=3)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    raise UserError(
        f"no model {name!r}. {hint}Choose one of {', '.join(sorted(trainable(form)))}, a name of "
        "smallvit.list_models(), timm:NAME or mmpretrain:NAME"
    )


def _stems(short: str, form: str, size: int) -> list[str]:
    ends = [form]
    for one in FORMS:  # accept the name of a base config too
        short = short.removesuffix(f"_{one}")
    for one in ("_small-images", "-small-images"):
        short = short.removesuffix(one)
    if form == "folder" and size <= SMALL:
        joined = "-" if "_" in short else "_"
        return [f"{short}{joined}small-images_folder", f"{short}_folder"]
    return [f"{short}_{one}" for one in ends]


def trainable(form: str) -> list[str]:
    """List the models that have a config for a data format.

    Args:
        form (str): ``folder``, ``custom-coco``, ``custom-boxes`` or ``custom-masks``.

    Returns:
        list[str]: Short names.
    """
    names = list_models(f"*_{form}")
    return [one.removesuffix(f"_{form}") for one in names if "small-images" not in one]


def _address(stem: str) -> str:
    path = find_config_of(stem)
    return f"smallvit::{path.parent.name}/{path.name}"


def _of_ours(name: str, stem: str, form: str) -> Chosen:
    """Use the network of a config for another dataset with the recipe for custom data."""
    wanted, task = _TASKS.get(form, "detection"), task_of(stem)
    if task != wanted:
        raise UserError(f"{name} is a model for {task}, but this data is for {wanted}")
    cfg = read_config(str(find_config_of(stem)))
    model = _plain(cfg.model)
    if "guidance" in model:
        raise UserError(
            f"{name} requires a teacher that was trained on these images first. See "
            "deit-ti_guided_folder in configs/README.md, or choose the model without guidance"
        )
    removed = _forget_start(model)
    model.pop("train_cfg", None) if form == "folder" else None
    if form == "custom-masks":
        _forget_weights(model)
    if form == "custom-boxes" and model.get("type") == "MaskRCNN":
        model.update(type="FasterRCNN")
        model["roi_head"].update(mask_roi_extractor=None, mask_head=None)
    note = f"network of {stem}, recipe of {GENERIC[form]}"
    note += "; starting from random weights (--pretrained FILE)" if removed else ""
    return Chosen(name, _address(GENERIC[form]), model, note=note)


def _plain(node: Any) -> Any:
    """Convert a config to plain dicts and lists."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_plain(one) for one in node)
    return deepcopy(node)


def _forget_start(model: dict) -> bool:
    removed = False
    for _, node in walk(model):
        found = node.get("init_cfg") if isinstance(node, dict) else None
        if isinstance(found, dict) and found.get("type") == "Pretrained":
            node["init_cfg"], removed = None, True
    return removed


def _forget_weights(model: dict) -> None:
    """Remove class weights of pixel losses, which belong to the classes of another dataset."""
    for head in ("decode_head", "auxiliary_head"):
        found = model.get(head)
        for one in found if isinstance(found, list) else [found]:
            loss = (one or {}).get("loss_decode")
            for each in loss if isinstance(loss, list) else [loss or {}]:
                each.pop("class_weight", None)


def timm_classifier(name: str, size: int) -> ConfigDict:
    """Create the config of a classifier with a timm backbone.

    Args:
        name (str): Model name in timm.
        size (int): Height and width of the images.

    Returns:
        ConfigDict: Config of the model, with ``num_classes`` still to be set.
    """
    import timm

    backbone: dict[str, Any] = dict(type="smallvit.TimmBackbone", model_name=name)
    pretrained_cfg = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
        backbone["img_size"] = size
    width = 0
    if timm.is_model(name):  # otherwise building the backbone reports it, with similar names
        options = {key: value for key, value in backbone.items() if key == "img_size"}
        network = timm.create_model(name, num_classes=0, **options)
        width = getattr(network, "head_hidden_size", None) or network.num_features
    return ConfigDict(
        type="ImageClassifier",
        backbone=backbone,
        head=dict(type="LinearClsHead", in_channels=width, num_classes=0),
    )


def _of_timm(name: str, form: str, size: int) -> Chosen:
    import timm

    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        near = get_close_matches(short, timm.list_models(), n=3)
        hint = f". Did you mean {', '.join(near)}?" if near else ""
        raise UserError(f"timm {timm.__version__} has no model {short!r}{hint}")
    if form == "folder":
        model = _plain(timm_classifier(short, size))
        return Chosen(name, _address(GENERIC[form]), model, weights="timm")
    levels = _levels(short)
    backbone = {
        "_delete_": True,
        "type": "smallvit.TimmBackbone",
        "model_name": short,
        "out_type": "featmap",
        "out_indices": tuple(levels),
    }
    channels = list(levels.values())
    changes: dict[str, Any] = {"backbone": backbone}
    if form == "custom-masks":
        changes["decode_head"] = {"in_channels": channels}
        changes["auxiliary_head"] = {"in_channels": channels[2]}
    else:
        changes["neck"] = {"in_channels": channels}
    return Chosen(name, _address(GENERIC[form]), changes=changes, weights="timm")


def _levels(short: str) -> dict[int, int]:
    """Find the levels of a timm model at strides 4, 8, 16 and 32, and their channels."""
    import timm

    info = list(timm.create_model(short, num_classes=0).feature_info)
    found = {one["reduction"]: (place, one["num_chs"]) for place, one in enumerate(info)}
    if not {4, 8, 16, 32} <= set(found):
        strides = ", ".join(str(one) for one in sorted(found))
        raise UserError(
            f"timm:{short} has feature maps at strides {strides}, but detection and segmentation "
            "require strides 4, 8, 16 and 32. Choose e.g. timm:convnext_atto or timm:pvt_v2_b0"
        )
    return dict(found[stride] for stride in (4, 8, 16, 32))


def _of_mmpretrain(name: str, form: str) -> Chosen:
    short = name.removeprefix(MMPRETRAIN)
    if form != "folder":
        raise UserError(
            f"{name}: MMPretrain's models are classifiers, but this data is for "
            f"{_TASKS.get(form, 'detection')}. Choose one of {', '.join(sorted(trainable(form)))}"
        )
    from mmpretrain.apis.model import ModelHub

    try:
        found = ModelHub.get(short)
    except ValueError:
        names = list(ModelHub._models_dict)
        near = get_close_matches(short, names, n=3)
        hint = f". Did you mean {', '.join(near)}?" if near else ""
        raise UserError(f"MMPretrain has no model {short!r}{hint}") from None
    config = found.config if isinstance(found.config, Config) else Config.fromfile(found.config)
    model = _plain(config.model)
    if (model.get("head") or {}).get("num_classes") is None:
        raise UserError(f"{name} is not a classifier with num_classes. Choose another model")
    _forget_start(model)
    model.pop("train_cfg", None)
    return Chosen(name, _address(GENERIC[form]), model, weights=found.weights)
