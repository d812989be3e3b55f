"""Check that a COCO metric uses the annotation file of the evaluated dataset."""

from __future__ import annotations

import os.path as osp
import time
from collections.abc import Iterator, Sequence
from typing import Any

from smallvit.datasets.coco_checks import reads_coco
from smallvit.datasets.coco_index import class_faults

#: Time limit for comparing the images of a dataset, in seconds.
SECONDS = 0.5


def evaluator_findings(metric: Any, parts: Sequence[Any], split: str) -> Iterator[tuple[bool, str]]:
    """Compare the ``ann_file`` of a metric with the evaluated dataset.

    Args:
        metric (Any): Metric of any library. Only COCO metrics with an annotation file are checked.
        parts (Sequence[Dataset]): Datasets evaluated by the metric.
        split (str): ``val`` or ``test``.

    Yields:
        tuple[bool, str]: Whether the mismatch makes evaluation impossible, and its description
        with a fix.
    """
    api = getattr(metric, "_coco_api", None)
    if api is None or not parts or not all(map(reads_coco, parts)):
        return
    path = getattr(metric, "ann_file", None) or "the file"
    name = f"{split}_evaluator.ann_file"
    files = [part.ann_file for part in parts]
    where = ", ".join(files)
    names = [one["name"] for one in api.dataset["categories"]]
    other = [file for file in files if _real(file) != _real(path)]
    for fault in class_faults(parts[0].metainfo.get("classes") or (), names, path) if other else ():
        yield True, f"{name}: {fault}"
    seen, lacking, renamed = 0, [], []
    until = time.monotonic() + SECONDS
    for info in _samples(parts):
        seen += 1
        image = api.imgs.get(info["img_id"])
        if image is None:
            lacking.append(info)
        elif osp.basename(image["file_name"]) != osp.basename(info["img_path"]):
            renamed.append((info, image))
        if time.monotonic() > until:
            break
    if lacking:
        yield (
            True,
            f"{name}={path} lacks {len(lacking)} of {seen} images of {where}, e.g. "
            f"{lacking[0]['img_path']} (id {lacking[0]['img_id']}). Set it to the annotation file "
            "of the dataset",
        )
    elif renamed:
        info, image = renamed[0]
        yield (
            True,
            f"{name}={path}: image {info['img_id']} is {image['file_name']}, but "
            f"{info['img_path']} in {where}. Set it to the annotation file of the dataset",
        )
    rest = len(api.imgs) - sum(map(len, parts))
    if rest > 0 and not lacking:
        yield (
            False,
            f"{name}={path} has {rest} more images than the dataset ({where}); their objects "
            "count as missed",
        )


def _real(path: str) -> str:
    return osp.realpath(path) if "://" not in str(path) else str(path)


def _samples(parts: Sequence[Any]) -> Iterator[dict]:
    for part in parts:
        for index in range(len(part)):
            yield part.get_data_info(index)
