"""COCO annotation files with in-memory repair and a count of the objects that are left out.

Both classes replace MMDetection's in its registries, so that configs need no change.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

from mmdet.datasets import CocoDataset as StockCocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation.metrics import CocoMetric as StockCocoMetric
from mmdet.registry import DATASETS, METRICS
from mmengine.fileio import get_local_path

from smallvit.datasets.checks import read_json
from smallvit.datasets.coco_checks import mask_settings
from smallvit.datasets.coco_index import CocoSummary, summarize
from smallvit.datasets.coco_repair import Repair, repair


class RepairedCOCO(COCO):
    """MMDetection's index of an annotation file, repaired in memory.

    Categories are returned in the order in which they are requested, so that labels follow the
    classes in the config, whatever their order in the file.

    Args:
        annotation_file (str, optional): The file, or a local copy of it. Defaults to None.
        path (str, optional): Where it comes from, for messages. Defaults to None.
    """

    def __init__(self, annotation_file: str | None = None, path: str | None = None) -> None:
        self.path, self.repaired = path or str(annotation_file), []
        super().__init__(None)
        if annotation_file is not None:
            self.dataset = read_json(str(annotation_file), path)
            self.createIndex()

    def createIndex(self) -> None:  # noqa: N802 pycocotools' name
        """Repair the content, and index it."""
        self.repaired += repair(self.dataset, self.path)
        with redirect_stdout(None):  # pycocotools tells of each step
            super().createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(
        self, cat_names: Iterable[str] = (), sup_names: Iterable = (), cat_ids: Iterable = ()
    ) -> list:
        """Category ids, in the order of the given names.

        Args:
            cat_names (Iterable[str]): Categories to select. Defaults to none: all categories.
            sup_names (Iterable): As in pycocotools.
            cat_ids (Iterable): As in pycocotools.

        Returns:
            list: The ids.
        """
        found = super().get_cat_ids(list(cat_names), list(sup_names), list(cat_ids))
        names = list(cat_names)
        return (
            sorted(found, key=lambda one: names.index(self.cats[one]["name"])) if names else found
        )


class CocoDataset(StockCocoDataset):
    """MMDetection's ``CocoDataset``, which counts the objects it does not train on, and why.

    They are listed in its ``summary``; :class:`smallvit.DataReportHook` logs it and refuses a
    file that is unusable as a whole. A file without ``area`` or ``iscrowd``, with ids that are 0,
    strings or not unique, or with flat polygons is repaired in memory.
    """

    summary: CocoSummary | None = None

    def COCOAPI(self, path: str) -> RepairedCOCO:  # noqa: N802 MMDetection's name
        """Read the annotation file.

        Args:
            path (str): The file, or a local copy of it.

        Returns:
            RepairedCOCO: The file, mended.
        """
        api = RepairedCOCO(path, self.ann_file)
        masks, classes = mask_settings(self), self.metainfo.get("classes") or ()
        self.summary = summarize(api.dataset, self.ann_file, classes, masks, api.repaired)
        return api


class CocoMetric(StockCocoMetric):
    """MMDetection's ``CocoMetric`` on an annotation file that is repaired in memory.

    Args:
        ann_file (str, optional): Path of the annotations. Defaults to None.
        **kwargs: Those of :class:`mmdet.evaluation.CocoMetric`.
    """

    def __init__(self, ann_file: str | None = None, **kwargs) -> None:
        super().__init__(None, **kwargs)
        self.ann_file = ann_file
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=self.backend_args) as local:
                self._coco_api = RepairedCOCO(local, ann_file)


def repair_metric(metric: Any) -> list[Repair]:
    """Repair the annotations that a metric has read.

    Args:
        metric (Any): A metric; others than MMDetection's of COCO are left alone.

    Returns:
        list[Repair]: What was mended.
    """
    api = getattr(metric, "_coco_api", None)
    if type(api) is COCO:
        mended = RepairedCOCO(path="the metric's ann_file")
        mended.dataset = api.dataset
        mended.createIndex()
        metric._coco_api = api = mended
    return getattr(api, "repaired", [])


def install() -> None:
    """Register these classes in place of MMDetection's ``CocoDataset`` and ``CocoMetric``."""
    for registry, stock, own in (
        (DATASETS, StockCocoDataset, CocoDataset),
        (METRICS, StockCocoMetric, CocoMetric),
    ):
        if registry.module_dict.get(stock.__name__) is stock:
            registry.register_module(name=stock.__name__, module=own, force=True)
