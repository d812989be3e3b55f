"""Reduce a config to the size of a test: small images, few regions, small DWNets."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from config_helpers import flat_steps, shrink, use_mini

IMAGE, SMALL_IMAGE = 64, 16
#: Channels of necks and heads.
NARROW = 32
NARROW_SWIN = dict(embed_dims=24, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24])
#: Arguments that make large timm teachers narrow without renaming their weights.
NARROW_TEACHERS = {
    "vit_small_patch14_dinov2.lvd142m": dict(depth=12, embed_dim=24, num_heads=2),
    "vit_small_patch16_dinov3.lvd1689m": dict(depth=12, embed_dim=32, num_heads=2),
    "convnext_tiny.fb_in22k": dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
}
#: Networks built for a fixed image size (224 by default), and those of timm that are not.
SIZED = ("VisionTransformer", "smallvit.T2TViT")
ANY_SIZE = ("pvt_v2",)


def reduce_config(cfg: Config) -> Config:
    """Reduce the data and the model of a config in place.

    Classifiers keep their depth and, except for Swin, their width. Image sizes change from 224 to
    64 pixels (32 to 16 for DHVT), and Swin uses windows of 2. DWNets are replaced with the smallest
    one. Detectors and segmentors use an eighth of the image length, few regions and narrow heads.

    Args:
        cfg (Config): A config of the repository.

    Returns:
        Config: The same config.
    """
    loader = cfg.train_dataloader
    loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    if "seen" in cfg:
        return cfg  # self-supervised pretraining at 32 pixels
    if "DWNet" in cfg.model.backbone.type:
        use_mini(cfg)
    if cfg.default_scope == "mmpretrain":
        _reduce_classifier(cfg)
    elif "digit_scenes" not in loader.dataset.data_root:
        shrink(cfg.model.data_preprocessor)
        shrink(loader.dataset.pipeline)
        narrow_heads(cfg.model)
    if "roi_head" in cfg.model:
        take_few_regions(cfg.model.train_cfg)
    return cfg


def _reduce_classifier(cfg: Config) -> None:
    pipeline, model = cfg.train_dataloader.dataset.pipeline, cfg.model
    factor = _image_size(pipeline) / _target(cfg)
    shrink(pipeline, factor)
    _shrink_network(model.backbone, factor)
    if _is_swin(model.backbone) and model.backbone.arch == "tiny":
        model.backbone.arch = NARROW_SWIN
        model.head.in_channels = 8 * NARROW_SWIN["embed_dims"]


def _image_size(pipeline: list[dict]) -> int:
    sizes = [step.get("crop_size") or step.get("scale") for step in flat_steps(pipeline)]
    return [size for size in sizes if size][-1]


def _target(cfg: Config) -> int:
    size = _image_size(cfg.train_dataloader.dataset.pipeline)
    if size == 224:
        return IMAGE
    is_dhvt = cfg.model.backbone.type == "smallvit.DHVT" and "Digits" not in str(cfg.filename)
    return SMALL_IMAGE if is_dhvt else size


def _shrink_network(node: Any, factor: float) -> None:
    """Adapt everything that depends on the image size."""
    if isinstance(node, list):
        for child in node:
            _shrink_network(child, factor)
    if not isinstance(node, Mapping):
        return
    if "img_size" in node:
        node.img_size = int(node.img_size / factor)
    elif node.get("type") in SIZED or _is_fixed(node):
        node.img_size = int(224 / factor)
    if factor > 1 and _is_swin(node):
        node.window_size = 2
    for child in node.values():
        _shrink_network(child, factor)


def _is_swin(node: Mapping) -> bool:
    return "SwinTransformer" in (node.get("type"), node.get("host"))


def _is_fixed(node: Mapping) -> bool:
    name = node.get("model_name")
    return name is not None and not name.startswith(ANY_SIZE)


def narrow_heads(model: Mapping) -> None:
    """Set the channels of a detector's or segmentor's neck and heads to 32, in place."""
    if "decode_head" in model:
        model.decode_head.channels = model.auxiliary_head.channels = NARROW
        return
    _listed(model.neck)[-1].out_channels = NARROW
    model.rpn_head.in_channels = model.rpn_head.feat_channels = NARROW
    roi_head = model.roi_head
    for extractor in (roi_head.bbox_roi_extractor, roi_head.get("mask_roi_extractor")):
        if extractor is not None:
            extractor.out_channels = NARROW
    for head in _listed(roi_head.bbox_head):
        head.in_channels = head.fc_out_channels = NARROW
        if "conv_out_channels" in head:
            head.conv_out_channels = NARROW
    for head in _listed(roi_head.get("mask_head") or []):
        head.in_channels = head.conv_out_channels = NARROW


def _listed(node: Any) -> list:
    return node if isinstance(node, list) else [node]


def take_few_regions(train_cfg: Config) -> None:
    """Train a detector on few proposals, in place."""
    train_cfg.rpn_proposal.max_per_img = 30
    for stage in _listed(train_cfg.rcnn):
        stage.sampler.num = 8
