"""Model settings of a plan: classes, channels, sizes, weights and anchors."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from smallvit.apis.training.bands import check_weights
from smallvit.apis.training.plan import Plan
from smallvit.engine.checkpoint.fit import describe_fit, measure_fit, weights_of
from smallvit.engine.checkpoint.newest import last_checkpoint
from smallvit.engine.checkpoint.reading import read_checkpoint
from smallvit.engine.model_settings import set_channels, set_classes
from smallvit.errors import UserError
from smallvit.registry import MODELS
from smallvit.utils.configs import walk

#: Stride of the smallest anchors in pixels, which is their size at scale 1.
STRIDE = 4


def model_settings(plan: Plan) -> dict[str, Any]:
    """Compute the model settings of a plan.

    Args:
        plan (Plan): Plan with the base config and the chosen model.

    Returns:
        dict[str, Any]: Changes to the model of the base, or a whole model with ``_delete_`` that
        replaces it.

    Raises:
        UserError: If the model does not support the data, or the requested weights do not match.
    """
    before = deepcopy(plan.base)
    if plan.chosen.model is not None:
        before.model = ConfigDict(deepcopy(plan.chosen.model))
    elif plan.chosen.changes:
        before.merge_from_dict({"model": deepcopy(plan.chosen.changes)})
    after = deepcopy(before)
    set_classes(after, len(plan.data.classes))
    if plan.data.several:
        _take_several_labels(after, plan)
    if plan.data.form == "folder":
        _set_size(after, plan.size)
    if plan.survey.channels != 3:
        _set_channels(after, plan)
    if plan.wishes.pretrained is not None:
        _set_weights(after, plan)
    if plan.data.form in ("custom-coco", "custom-boxes"):
        _fit_regions(after, plan)
    if plan.chosen.model is not None:
        model = _without_preprocessor(_plain(after.model))
        return {"_delete_": True, **model, **_preprocessor_of(plan.base)}
    changed = _difference(_plain(plan.base.model), _plain(after.model))
    return changed if isinstance(changed, dict) else {}


def _take_several_labels(cfg: Config, plan: Plan) -> None:
    head = cfg.model.head
    if head.type.rpartition(".")[2] != "LinearClsHead":
        raise UserError(
            f"{plan.chosen.name} with {head.type} does not support several labels per image as in "
            f"{plan.data.table}. Choose a model with a LinearClsHead, such as dhvt-t or vit-t"
        )
    cfg.model.head = ConfigDict(
        type="MultiLabelLinearClsHead",
        num_classes=head.num_classes,
        in_channels=head.in_channels,
        loss=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )
    cfg.model.train_cfg = None


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_plain(one) for one in node)
    return node


def _preprocessor_of(base: Config) -> dict[str, Any]:
    """Return the preprocessor in the base model, which replacing the model would remove."""
    found = base.model.get("data_preprocessor")
    return {} if found is None else {"data_preprocessor": _plain(found)}


def _without_preprocessor(model: dict) -> dict:
    return {key: value for key, value in model.items() if key != "data_preprocessor"}


def _difference(before: dict, after: dict) -> dict:
    """Compute the config that turns ``before`` into ``after`` when merged."""
    changed: dict[str, Any] = {}
    for key, value in after.items():
        if key == "data_preprocessor" or (key in before and before[key] == value):
            continue
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            replaced = value.get("type", old.get("type")) != old.get("type")
            lost = set(old) - set(value)
            if replaced or lost:
                changed[key] = {"_delete_": True, **value}
            else:
                changed[key] = _difference(old, value)
        else:
            changed[key] = value
    return changed


def _set_size(cfg: Config, size: int) -> None:
    for _, node in walk(cfg.model):
        if hasattr(node, "get") and "img_size" in node:
            node.img_size = size


def _set_channels(cfg: Config, plan: Plan) -> None:
    try:
        set_channels(cfg, plan.survey.channels)
    except UserError as error:
        raise UserError(
            f"{error}, but these are {plan.survey.note}. Choose another model, or convert the "
            "images to color"
        ) from error


def _set_weights(cfg: Config, plan: Plan) -> None:
    backbone, file = cfg.model.backbone, plan.wishes.pretrained
    if file is not None and os.path.isdir(file):
        file = _of_run(file, backbone)
    elif plan.survey.bands is not None and file is not None:
        check_weights(file, plan.chosen.weights == "timm", backbone, plan.survey)
    if file != "official":
        backbone.init_cfg = dict(type="Pretrained", checkpoint=file, prefix="backbone.")
    elif plan.chosen.weights == "timm":
        backbone.pretrained = True
    else:
        weights = plan.chosen.weights
        backbone.init_cfg = dict(type="Pretrained", checkpoint=weights, prefix="backbone.")


def _of_run(folder: str, backbone: ConfigDict) -> str:
    """Find the last checkpoint of a pretraining run, and check that its backbone matches."""
    path = last_checkpoint(folder)
    if path is None:
        raise UserError(f"--pretrained {folder} contains no checkpoint")
    state = {
        name.removeprefix("backbone."): value
        for name, value in weights_of(read_checkpoint(path)).items()
        if name.startswith("backbone.")
    }
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        fit = measure_fit(MODELS.build(deepcopy(backbone)), state)
    # The backbone of a detector has additional norms after its output stages.
    missing = [name for name in fit.missing if not name.startswith("norm")]
    if missing or fit.unexpected or fit.misshapen or fit.remade:
        raise UserError(
            f"--pretrained {folder}: {describe_fit(fit, path)}. Use the model that was pretrained, "
            "with the same --image-size or patch size and as many channels"
        )
    return path


def _fit_regions(cfg: Config, plan: Plan) -> None:
    """Adapt the smallest anchors and the numbers of detections and proposals to the data."""
    side = plan.data.side * plan.size / max(plan.data.longest, 1)
    scale = min(8, max(2, round(side / STRIDE)))
    if cfg.model.get("rpn_head") and "anchor_generator" in cfg.model.rpn_head:
        cfg.model.rpn_head.anchor_generator.scales = [scale]
    most = plan.data.most_objects
    testing = cfg.model.get("test_cfg") or {}
    detections = testing.get("rcnn", testing)
    if "max_per_img" not in detections:
        return
    detections.max_per_img = max(detections.max_per_img, int(most * 1.25))
    # An object without a proposal is never found.
    training = cfg.model.get("train_cfg") or {}
    for rpn in filter(None, (testing.get("rpn"), training.get("rpn_proposal"))):
        least = max(rpn.max_per_img, detections.max_per_img)
        rpn.max_per_img, rpn.nms_pre = least, max(rpn.nms_pre, least)
