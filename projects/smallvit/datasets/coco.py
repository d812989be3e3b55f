"""COCO dataset and metric with in-memory repair of annotations and a count of ignored objects.

Both classes replace those of MMDetection in its registries, so configs do not need to change.
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
    """MMDetection's COCO API with in-memory repair of the annotation file.

    Category ids are returned in the order of the requested names, so labels follow the classes in
    the config regardless of the category order in the file.

    Args:
        annotation_file (str, optional): Local path of the annotation file. Defaults to None.
        path (str, optional): Original path of the file, used in messages. Defaults to None.
    """

    def __init__(self, annotation_file: str | None = None, path: str | None = None) -> None:
        self.path, self.repaired = path or str(annotation_file), []
        super().__init__(None)
        if annotation_file is not None:
            self.dataset = read_json(str(annotation_file), path)
            self.createIndex()

    def createIndex(self) -> None:  # noqa: N802 name defined by pycocotools
        """Repair the annotations and build the index."""
        self.repaired += repair(self.dataset, self.path)
        with redirect_stdout(None):  # suppress pycocotools' progress output
            super().createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(
        self, cat_names: Iterable[str] = (), sup_names: Iterable = (), cat_ids: Iterable = ()
    ) -> list:
        """Get category ids in the order of the given names.

        Args:
            cat_names (Iterable[str]): Category names to select. If empty (default), all categories
                are selected.
            sup_names (Iterable): Supercategory names to select, as in pycocotools.
            cat_ids (Iterable): Category ids to select, as in pycocotools.

        Returns:
            list: Category ids.
        """
        found = super().get_cat_ids(list(cat_names), list(sup_names), list(cat_ids))
        names = list(cat_names)
        return (
            sorted(found, key=lambda one: names.index(self.cats[one]["name"])) if names else found
        )


class CocoDataset(StockCocoDataset):
    """MMDetection's ``CocoDataset`` with a summary of the objects ignored in training.

    The ``summary`` attribute counts ignored objects by reason. :class:`smallvit.DataReportHook`
    logs it and raises an error if the file is unusable. Annotation files with missing ``area`` or
    ``iscrowd``, with ids that are 0, strings or duplicated, or with flat polygons are repaired in
    memory.
    """

    summary: CocoSummary | None = None

    def COCOAPI(self, path: str) -> RepairedCOCO:  # noqa: N802 name defined by MMDetection
        """Read the annotation file.

        Args:
            path (str): Local path of the annotation file.

        Returns:
            RepairedCOCO: Index of the repaired annotations.
        """
        api = RepairedCOCO(path, self.ann_file)
        masks, classes = mask_settings(self), self.metainfo.get("classes") or ()
        self.summary = summarize(api.dataset, self.ann_file, classes, masks, api.repaired)
        return api


class CocoMetric(StockCocoMetric):
    """MMDetection's ``CocoMetric`` with in-memory repair of the annotation file.

    Args:
        ann_file (str, optional): Path of the annotation file. Defaults to None.
        **kwargs: Other arguments of :class:`mmdet.evaluation.CocoMetric`.
    """

    def __init__(self, ann_file: str | None = None, **kwargs) -> None:
        super().__init__(None, **kwargs)
        self.ann_file = ann_file
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=self.backend_args) as local:
                self._coco_api = RepairedCOCO(local, ann_file)


def repair_metric(metric: Any) -> list[Repair]:
    """Repair the annotations loaded by a metric.

    Args:
        metric (Any): Metric of any library. Only MMDetection's ``CocoMetric`` is changed.

    Returns:
        list[Repair]: Repairs made.
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
