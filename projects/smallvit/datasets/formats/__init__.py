"""Annotation formats of labeling tools (YOLO, Pascal VOC, LabelMe) and their conversion to COCO.

Annotation files are treated as untrusted: invalid entries are skipped and counted by reason, paths
outside of the data folder are rejected, and no content is executed or expanded.
"""

from smallvit.datasets.formats.coco_content import coco_content
from smallvit.datasets.formats.labeled import Labeled, LabeledImage, Shape
from smallvit.datasets.formats.labelme import is_labelme, read_labelme
from smallvit.datasets.formats.voc import is_voc, read_voc
from smallvit.datasets.formats.yolo import is_yolo, read_yolo

__all__ = [
    "Labeled",
    "LabeledImage",
    "Shape",
    "coco_content",
    "is_labelme",
    "is_voc",
    "is_yolo",
    "read_labelme",
    "read_voc",
    "read_yolo",
]
