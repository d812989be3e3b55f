"""Detectors of many kinds, trained and tested with a small backbone of ours with shortcuts."""

import pytest
import torch
from mmengine.hub import get_config

import smallvit  # noqa: F401
from smallvit.registry import MODELS

CHANNELS = (8, 16, 24, 32)
PVT = dict(
    type="smallvit.DWConvShortcut",
    host="smallvit.PVT",
    arch=dict(
        embed_dims=CHANNELS,
        depths=(1, 1, 2, 1),
        num_heads=(1, 1, 2, 2),
        mlp_ratios=(1, 1, 1, 1),
        sr_ratios=(4, 2, 1, 1),
        patch_sizes=(4, 2, 2, 2),
    ),
    out_indices=(0, 1, 2, 3),
    out_type="featmap",
)


def mask2former(model):
    model.panoptic_head.update(in_channels=list(CHANNELS), feat_channels=32, out_channels=32)
    model.panoptic_head.num_queries = 6
    decoder = model.panoptic_head.pixel_decoder
    decoder.encoder.num_layers = 1
    model.panoptic_head.transformer_decoder.num_layers = 1
    shrink(model.panoptic_head, {256: 32, 1024: 32, 2048: 32, 128: 16})


def rtmdet(model):
    model.backbone.out_indices = (1, 2, 3)
    model.neck.in_channels = list(CHANNELS[1:])
    model.neck.num_csp_blocks = 1


def fpn(model):
    model.neck.in_channels = list(CHANNELS)


def sparse_rcnn(model):
    fpn(model)
    model.rpn_head.num_proposals = 5
    model.roi_head.num_stages = 1
    model.roi_head.stage_loss_weights = [1]
    model.roi_head.bbox_head = model.roi_head.bbox_head[:1]
    model.train_cfg.rcnn = model.train_cfg.rcnn[:1]


def detr(model):
    model.backbone.out_indices = (1, 2, 3)
    model.neck.in_channels = list(CHANNELS[1:])
    model.num_queries = 8
    model.encoder.num_layers = model.decoder.num_layers = 1
    if "test_cfg" in model:
        model.test_cfg.max_per_img = 8


def shrink(node, sizes):
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        if isinstance(value, (dict, list)):
            shrink(value, sizes)
        elif type(value) is int and value in sizes and key != "num_points":
            node[key] = sizes[value]


CONFIGS = {
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py": mask2former,
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": rtmdet,
    "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py": rtmdet,
    "solov2/solov2_r50_fpn_1x_coco.py": fpn,
    "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py": sparse_rcnn,
    "dino/dino-4scale_r50_8xb2-12e_coco.py": detr,
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py": detr,
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_and_a_prediction(name):
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    config = get_config(f"mmdet::{name}")
    model = config.model
    model.backbone = dict(PVT)
    CONFIGS[name](model)
    model = MODELS.build(dict(model, _scope_="mmdet"))
    masks = any(part in name for part in ("mask2former", "rtmdet-ins", "solov2"))
    data = demo_mm_inputs(
        2, [[3, 64, 96], [3, 64, 96]], num_items=[2, 1], num_classes=2, with_mask=masks
    )
    batch = model.data_preprocessor(data, training=True)
    losses = model.train().loss(batch["inputs"], batch["data_samples"])
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    shortcuts = model.backbone.dw_shortcuts
    assert all(p.grad is not None for p in shortcuts.parameters())
    batch = model.data_preprocessor(data, training=False)
    with torch.no_grad():
        found = model.eval().predict(batch["inputs"], batch["data_samples"])
    assert len(found) == 2
