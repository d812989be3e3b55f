"""Number of regions for which the FLOPs of two-stage detectors are published.

An untrained detector proposes an arbitrary number of regions, and mmdet's cascade
runs its mask heads on all of them. Published tables count 1,000 proposals for the
box heads and 100 regions for the mask heads (``forward_dummy`` of mmdet 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

BOX_ROIS = 1000
MASK_ROIS = 100


@contextmanager
def published_rois(model: nn.Module) -> Iterator[None]:
    """Make a two-stage detector run on the published number of regions.

    Args:
        model (nn.Module): Any model; only two-stage detectors of mmdet are changed.

    Yields:
        None: Within the context, ``model(...)`` in tensor mode uses 1,000 proposals spread over the
        image instead of those of the RPN, whose convolutions still run, and 100 of them for the
        mask heads.
    """
    rpn, roi_head = getattr(model, "rpn_head", None), getattr(model, "roi_head", None)
    if rpn is None or roi_head is None:
        yield
        return
    from mmdet.models.roi_heads import CascadeRoIHead

    patched = [rpn]
    rpn.predict = partial(_propose, rpn)
    if type(roi_head) is CascadeRoIHead:
        patched.append(roi_head)
        roi_head.forward = partial(_cascade_forward, roi_head)
    try:
        yield
    finally:
        for module in patched:
            module.__dict__.pop("predict", None)
            module.__dict__.pop("forward", None)


def _propose(rpn: nn.Module, x: tuple[Tensor, ...], samples: list[Any], **kwargs) -> list[Any]:
    from mmengine.structures import InstanceData

    outputs = rpn(x)
    # Tracing removes unused results, which are then not counted.
    used = sum(level.sum() for levels in outputs for level in levels) * 0
    boxes = [_spread_boxes(sample.img_shape, x[0].device) for sample in samples]
    return [InstanceData(bboxes=box + used) for box in boxes]


def _spread_boxes(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Boxes (1000, 4) of various sizes, so that each pyramid level receives some."""
    height, width = shape[:2]
    fraction = torch.linspace(0, 1, BOX_ROIS, device=device)
    scale = torch.tensor([width, height], dtype=torch.float32, device=device)
    size = (0.02 + 0.6 * fraction[:, None]) * scale
    corner = torch.stack([(fraction * 7) % 1, (fraction * 31) % 1], dim=1) * (scale - size)
    return torch.cat([corner, corner + size], dim=1)


def _cascade_forward(
    roi_head: nn.Module, x: tuple[Tensor, ...], proposals: list[Any], samples: list[Any]
) -> tuple:
    from mmdet.structures.bbox import bbox2roi

    boxes = [result.bboxes for result in proposals]
    rois, scores, deltas = roi_head._refine_roi(
        x, bbox2roi(boxes), [sample.metainfo for sample in samples], tuple(map(len, boxes))
    )
    if not roi_head.with_mask:
        return scores, deltas
    mask_rois = torch.cat(list(rois))[:MASK_ROIS]
    stages = range(roi_head.num_stages)
    masks = [roi_head._mask_forward(stage, x, mask_rois)["mask_preds"] for stage in stages]
    return scores, deltas, masks
