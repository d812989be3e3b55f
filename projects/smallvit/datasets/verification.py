"""Verification of whole datasets by reading all files."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

from smallvit.datasets.coco_checks import check_annotations
from smallvit.datasets.describe import left_out_of
from smallvit.datasets.io.image_lists import clashing_names
from smallvit.datasets.io.left_out import BROKEN_LINK, is_image
from smallvit.datasets.io.parallel import read_all
from smallvit.datasets.label_map_checks import MapsSeen
from smallvit.datasets.parts import parts_of
from smallvit.datasets.sample_checks import (
    LEFT_OUT,
    MISLABELED,
    MISSING,
    REPEATED,
    Checked,
    Finding,
    SampleChecks,
)


class Contents:
    """Registry of images seen so far, identified by file content.

    It detects identical images with different labels, and data leakage between splits.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, tuple[int, ...] | None, str]] = {}

    def compare(self, checked: Checked, split: str = "") -> Finding | None:
        """Compare an image with the images seen so far.

        Args:
            checked (Checked): Result of checking a sample.
            split (str): Split of the sample. Defaults to "".

        Returns:
            Finding | None: Finding if an identical image has other labels or is in another split.
        """
        if checked.digest is None:
            return None
        here = (checked.path, checked.labels, split)
        path, labels, other = self._seen.setdefault(checked.digest, here)
        if labels is not None and checked.labels is not None and labels != checked.labels:
            own, others = (", ".join(map(str, some)) for some in (checked.labels, labels))
            reason = f"label {own}, but label {others} for the same content in {path}"
            return Finding(MISLABELED, checked.path, reason)
        if split != other:
            return Finding(REPEATED, checked.path, f"the same content is in {other}: {path}")
        return None


def verify(datasets: dict[str, Any], workers: int, num_classes: int | None = None) -> dict:
    """Read all samples of datasets and list their problems.

    Args:
        datasets (dict[str, Dataset]): Mapping from splits to datasets of any MM library.
        workers (int): Number of worker processes.
        num_classes (int, optional): Number of classes of the model. Defaults to None.

    Returns:
        dict[str, dict]: ``samples`` and ``findings`` of each split.
    """
    contents, results = Contents(), {}
    for split, dataset in datasets.items():
        parts = list(parts_of(dataset))
        count = sum(map(len, parts))
        print(f"{split}: {count} samples", flush=True)
        findings: list[Finding] = []
        for part in parts:
            findings += check_annotations(part)
            findings += _files(part)
            findings += check_samples(part, workers, contents, num_classes, split)
        results[split] = {"samples": count, "findings": findings}
    return results


def _files(part: Any) -> Iterator[Finding]:
    found = left_out_of(part)
    for reason, number in found.counts.items() if found is not None else ():
        kind = MISSING if reason == BROKEN_LINK else LEFT_OUT
        if not is_image(reason):
            continue
        for path in found.by_reason[reason]:
            more = f" ({number} such files)" if number > 1 else ""
            yield Finding(kind, path, f"left out: {reason}{more}")


def check_samples(
    dataset: Any,
    workers: int,
    contents: Contents,
    num_classes: int | None = None,
    split: str = "",
) -> Iterator[Finding]:
    """Check every sample of a dataset in worker processes.

    Args:
        dataset (Dataset): Dataset with a ``get_data_info`` method.
        workers (int): Number of worker processes.
        contents (Contents): Images seen so far, including those of other datasets.
        num_classes (int, optional): Number of classes of the model. Defaults to None.
        split (str): Name of the split in the findings. Defaults to "".

    Yields:
        Finding: Problem with a sample, in the order of the samples.
    """
    checks = SampleChecks(dataset, num_classes)
    labels: set[int] = set()
    maps = MapsSeen(len(dataset), tuple(checks.classes or ()))
    for items in read_all(checks, workers):
        for checked in items:
            yield from checked.findings
            again = contents.compare(checked, split)
            if again is not None:
                yield again
            labels.update(checked.labels or ())
            if checked.present is not None:
                maps.add(checked.present)
    where = _place(dataset)
    if labels:
        yield from _check_classes(dataset, checks.classes or (), labels, where)
    if maps.looked_at:
        yield from _check_maps(maps, where, split)


def _place(dataset: Any) -> str:
    prefix = getattr(dataset, "data_prefix", None) or {}
    maps = prefix.get("seg_map_path") if hasattr(prefix, "get") else None
    where = maps or getattr(dataset, "ann_file", "") or getattr(dataset, "img_prefix", "")
    return osp.normpath(where) if where else type(dataset).__name__


def _check_classes(dataset: Any, classes: Any, labels: set[int], where: str) -> Iterator[Finding]:
    for label in sorted(set(range(len(classes))) - labels):
        yield Finding(MISSING, where, f"no image of class {classes[label]!r}")
    if hasattr(dataset, "folder_to_idx"):
        for clash in clashing_names(list(dataset.folder_to_idx)):
            yield Finding(MISLABELED, where, clash)


def _check_maps(maps: MapsSeen, where: str, split: str) -> Iterator[Finding]:
    lone = maps.lone_class()
    if lone is not None:
        yield Finding(MISLABELED, where, lone)
    for name, number in maps.counts.items():
        if number == 0 and split in ("", "train"):
            yield Finding(MISSING, where, f"no pixel of class {name!r} in {maps.looked_at} maps")
