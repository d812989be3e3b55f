"""Faster and Mask R-CNN as a graph of fixed sizes with standard ONNX operators.

In MMDetection, Python code decides how many boxes are kept. Here the maximum number is always
kept, and boxes that MMDetection would drop come last with a score of 0: suppression
(``NonMaxSuppression``) marks boxes, and a top-k with fixed k selects them. For each box the
features of all levels are computed (``RoiAlign``), and those of its own level selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from smallvit.errors import UserError

#: Maximum number of box-class pairs before suppression; pairs with lower scores are dropped.
MAX_CANDIDATES = 20_000
#: Score of a box that is suppressed or too small.
GONE = -1.0


def require_two_stages(model: nn.Module) -> None:
    """Check that a detector is a standard Faster or Mask R-CNN.

    Args:
        model (nn.Module): Detector of MMDetection.

    Raises:
        UserError: If a part of the detector is not supported.
    """
    roi_head = getattr(model, "roi_head", None)
    parts = {
        "roi_head": (roi_head, "StandardRoIHead"),
        "rpn_head": (getattr(model, "rpn_head", None), "RPNHead"),
        "bbox_roi_extractor": (
            getattr(roi_head, "bbox_roi_extractor", None),
            "SingleRoIExtractor",
        ),
    }
    if getattr(roi_head, "with_mask", False):
        parts["mask_head"] = (getattr(roi_head, "mask_head", None), "FCNMaskHead")
    coder = getattr(getattr(roi_head, "bbox_head", None), "bbox_coder", None)
    parts["bbox_coder"] = (coder, "DeltaXYWHBBoxCoder")
    wrong = {name: part for name, (part, kind) in parts.items() if type(part).__name__ != kind}
    if wrong:
        found = ", ".join(f"{name} is a {type(part).__name__}" for name, part in wrong.items())
        raise UserError(
            f"exporting a whole {type(model).__name__} is not supported: {found}. MMDetection "
            "selects boxes in Python, and only Faster and Mask R-CNN have a graph "
            "implementation. Export backbone and neck with --part backbone"
        )
    kinds = {cfg.nms.get("type", "nms") for cfg in (model.test_cfg.rpn, model.test_cfg.rcnn)}
    if kinds != {"nms"}:
        raise UserError(f"ONNX supports only nms, got {', '.join(sorted(kinds))}")


class DetectorGraph(nn.Module):
    """Detector that returns boxes, scores, labels, and masks relative to the boxes.

    Args:
        model (nn.Module): A Faster or Mask R-CNN of MMDetection.
        preprocessing (nn.Module): Preprocessing of the images.
        images (Tensor): Example image of the size of the graph, (1, C, H, W).

    Raises:
        UserError: If the detector is not supported.
    """

    def __init__(self, model: nn.Module, preprocessing: nn.Module, images: Tensor) -> None:
        super().__init__()
        require_two_stages(model)
        self.model, self.preprocessing = model, preprocessing
        self.size = tuple(images.shape[2:])
        with torch.no_grad():
            maps = model.extract_feat(preprocessing(images))
            sizes = [tuple(scores.shape[2:]) for scores in model.rpn_head(maps)[0]]
        anchors = model.rpn_head.prior_generator.grid_priors(sizes, device="cpu")
        for number, each in enumerate(anchors):
            self.register_buffer(f"anchors_{number}", each)
        self.outputs = ("boxes", "scores", "labels", "masks")[: 4 if self._has_masks else 3]

    @property
    def _has_masks(self) -> bool:
        return bool(self.model.roi_head.with_mask)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Detect objects in one image.

        Args:
            images (Tensor): (1, C, H, W).

        Returns:
            tuple[Tensor, ...]: Boxes (N, 4) in pixels of the input, scores (N, ), which are 0 for
            padding, labels (N, ), and for Mask R-CNN mask probabilities (N, h, w) in each box.
        """
        maps = self.model.extract_feat(self.preprocessing(images))
        proposals, good = self._propose(maps)
        boxes, scores, labels = self._classify(maps, proposals, good)
        if not self._has_masks:
            return boxes, scores, labels
        masks = self._masks(maps, boxes, labels)
        return boxes, scores, labels, masks.where((scores > 0).view(-1, 1, 1), 0.0)

    def _propose(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        head, cfg = self.model.rpn_head, self.model.test_cfg.rpn
        boxes, scores, levels = [], [], []
        for number, (logits, deltas) in enumerate(zip(*head(maps), strict=True)):
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            logits = logits[0].permute(1, 2, 0).reshape(-1, head.cls_out_channels)
            score = logits.sigmoid()[:, 0] if head.use_sigmoid_cls else logits.softmax(-1)[:, 0]
            anchors = getattr(self, f"anchors_{number}")
            if 0 < cfg.get("nms_pre", -1) < len(anchors):
                score, chosen = score.topk(cfg.nms_pre)
                deltas, anchors = deltas[chosen], anchors[chosen]
            boxes.append(self._decode(head.bbox_coder, anchors, deltas))
            scores.append(score)
            levels.append(torch.full_like(score, float(number)))
        boxes, scores, levels = map(torch.cat, (boxes, scores, levels))
        if cfg.get("min_bbox_size", -1) >= 0:
            sides = boxes[:, 2:] - boxes[:, :2]
            scores = scores.where((sides > cfg.min_bbox_size).all(dim=1), GONE)
        scores, chosen = _best(boxes, scores, levels, cfg.nms.iou_threshold, cfg.max_per_img)
        return boxes[chosen], scores > GONE / 2

    def _classify(
        self, maps: Sequence[Tensor], proposals: Tensor, good: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        head, cfg = self.model.roi_head.bbox_head, self.model.test_cfg.rcnn
        extractor = self.model.roi_head.bbox_roi_extractor
        logits, deltas = head(self._features(extractor, maps, proposals))
        scores = logits.softmax(-1)[:, :-1]
        classes = scores.shape[1]
        several = 1 if head.reg_class_agnostic else classes
        decoded = self._decode(
            head.bbox_coder,
            proposals.repeat_interleave(several, dim=0),
            deltas.reshape(-1, 4),
        ).reshape(-1, several, 4)
        boxes = decoded.expand(-1, classes, 4).reshape(-1, 4)
        labels = torch.arange(classes).repeat(len(proposals))
        allowed = (scores > cfg.score_thr) & good[:, None]
        scores = scores.where(allowed, GONE).reshape(-1)
        if len(scores) > MAX_CANDIDATES:
            scores, first = scores.topk(MAX_CANDIDATES)
            boxes, labels = boxes[first], labels[first]
        scores, chosen = _best(
            boxes, scores, labels.float(), cfg.nms.iou_threshold, cfg.max_per_img
        )
        found = scores > 0  # the order of dropped boxes is undefined, so they are zeroed
        boxes = boxes[chosen].where(found[:, None], 0.0)
        return boxes, scores.clamp(min=0), labels[chosen].where(found, 0)

    def _masks(self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        roi_head = self.model.roi_head
        extractor = roi_head.bbox_roi_extractor if roi_head.share_roi_extractor else None
        extractor = extractor or roi_head.mask_roi_extractor
        masks = roi_head.mask_head(self._features(extractor, maps, boxes)).sigmoid()
        if masks.shape[1] == 1:
            return masks[:, 0]
        return masks.gather(1, labels.view(-1, 1, 1, 1).expand(-1, 1, *masks.shape[2:]))[:, 0]

    def _features(self, extractor: nn.Module, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Extract RoI features with one RoIAlign per level for all boxes."""
        rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], dim=1)
        maps = maps[: extractor.num_inputs]
        levels = extractor.map_roi_levels(rois, len(maps)).view(-1, 1, 1, 1)
        found: Any = 0.0
        for number, (each, layer) in enumerate(zip(maps, extractor.roi_layers, strict=True)):
            pooled = torchvision.ops.roi_align(
                each,
                rois,
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
            found = torch.where(levels == number, pooled, found)
        return found

    def _decode(self, coder: Any, boxes: Tensor, deltas: Tensor) -> Tensor:
        from mmdet.models.task_modules.coders.delta_xywh_bbox_coder import delta2bbox

        limits = self.size if coder.clip_border else None
        return delta2bbox(boxes, deltas, coder.means, coder.stds, limits)


def _best(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, count: int
) -> tuple[Tensor, Tensor]:
    """Select a fixed number of boxes after suppression within groups, suppressed ones last."""
    apart = boxes + (groups * (boxes.max() + 1)).unsqueeze(1)
    kept = torchvision.ops.nms(apart, scores, iou)
    left = torch.full_like(scores, GONE).scatter(0, kept, scores[kept])
    return left.topk(min(count, len(scores)))
