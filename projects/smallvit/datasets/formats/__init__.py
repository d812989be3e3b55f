"""What labeling tools write, YOLO's text files, Pascal VOC's XML and LabelMe's JSON, as COCO.

Files of these formats come from anywhere: what cannot be read is counted with its reason, paths
that leave the data folder are refused, and nothing in a file is run or expanded.
"""

from smallvit.datasets.formats.coco_content import coco_content
from smallvit.datasets.formats.labelled import Labelled, LabelledImage, Shape
from smallvit.datasets.formats.labelme import is_labelme, read_labelme
from smallvit.datasets.formats.voc import is_voc, read_voc
from smallvit.datasets.formats.yolo import is_yolo, read_yolo

__all__ = [
    "Labelled",
    "LabelledImage",
    "Shape",
    "coco_content",
    "is_labelme",
    "is_voc",
    "is_yolo",
    "read_labelme",
    "read_voc",
    "read_yolo",
]
