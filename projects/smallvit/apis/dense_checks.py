"""Check a backbone by training a small detector and a small segmentor for one step."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from smallvit.apis.host_checks import maps_of, short
from smallvit.registry import MODELS

_STAND_IN = dict(type="smallvit.CifarResNet", depth=8, out_indices=(2,))


def as_detector(host: nn.Module, shape: tuple[int, int, int]) -> str:
    """Train a small RetinaNet with a backbone for one step.

    Args:
        host (nn.Module): Backbone with or without shortcuts.
        shape (tuple[int, int, int]): Channels, height and width of the images.

    Returns:
        str: Error message, empty on success.
    """
    try:
        from mmdet.structures import DetDataSample

        maps, size = maps_of(host, shape), shape[1:]
        model = MODELS.build(_detector([each.shape[1] for each in maps], _strides(maps, size)))
        sample = DetDataSample(
            metainfo=dict(img_shape=size, pad_shape=size, batch_input_shape=size)
        )
        boxes = torch.tensor([[4.0, 4.0, size[1] / 2, size[0] / 2]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(1, dtype=torch.long))
        return _step(model, host, shape, [sample, sample.clone()])
    except Exception as error:
        return short(error)


def as_segmentor(host: nn.Module, shape: tuple[int, int, int]) -> str:
    """Train a small FCN with a backbone for one step.

    Args:
        host (nn.Module): Backbone with or without shortcuts.
        shape (tuple[int, int, int]): Channels, height and width of the images.

    Returns:
        str: Error message, empty on success.
    """
    try:
        from mmseg.structures import SegDataSample

        maps, size = maps_of(host, shape), shape[1:]
        model = MODELS.build(_segmentor(maps[-1].shape[1], len(maps) - 1))
        sample = SegDataSample(metainfo=dict(img_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=torch.randint(2, (1, *size)))
        return _step(model, host, shape, [sample, sample.clone()])
    except Exception as error:
        return short(error)


def _step(model: nn.Module, host: nn.Module, shape: tuple[int, int, int], samples: list) -> str:
    model.backbone = host
    model.train()
    losses = model.loss(torch.randn(2, *shape), samples)
    total = sum(_sum(value) for key, value in losses.items() if "loss" in key)
    weights = [p for p in host.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    host.eval()
    if not bool(total.isfinite()):
        return "the loss is not finite"
    seen = any(each is not None and each.abs().sum() > 0 for each in gradients)
    return "" if seen else "the backbone receives no gradient"


def _sum(value: Tensor | list[Tensor]) -> Tensor:
    return sum(each.sum() for each in value) if isinstance(value, list) else value.sum()


def _strides(maps: list[Tensor], size: tuple[int, int]) -> list[int]:
    return [max(1, round(size[0] / each.shape[2])) for each in maps]


def _detector(channels: list[int], strides: list[int]) -> dict:
    return dict(
        type="mmdet.RetinaNet",
        _scope_="mmdet",
        backbone=_STAND_IN,
        neck=dict(type="FPN", in_channels=channels, out_channels=16, num_outs=len(channels)),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=2,
            in_channels=16,
            feat_channels=16,
            stacked_convs=1,
            anchor_generator=dict(
                type="AnchorGenerator", scales=[4], ratios=[1.0], strides=strides
            ),
        ),
        train_cfg=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
    )


def _segmentor(channels: int, index: int) -> dict:
    return dict(
        type="mmseg.EncoderDecoder",
        _scope_="mmseg",
        backbone=_STAND_IN,
        decode_head=dict(
            type="FCNHead",
            in_channels=channels,
            in_index=index,
            channels=8,
            num_convs=1,
            num_classes=2,
            norm_cfg=dict(type="BN"),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )
