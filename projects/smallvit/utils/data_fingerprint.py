"""Fingerprint of a dataset, by which a resumed run notices other data."""

from __future__ import annotations

import hashlib
import os.path as osp
from collections.abc import Iterable, Mapping
from typing import Any

#: Number of samples of a dataset that its fingerprint covers.
SAMPLES = 1000


def fingerprint(dataset: Any) -> dict[str, Any]:
    """Fingerprint a dataset by its annotations, names and size.

    Args:
        dataset (Dataset): Dataset of a run, possibly a wrapper.

    Returns:
        dict: ``type``, ``samples``, ``annotations`` (SHA-256 of its annotation file, if it
        has one), and of up to 1,000 samples that are spread over it, if they are available,
        ``listing`` (SHA-256 of names and labels) and ``sizes`` (SHA-256 of the sizes of the image
        files).
    """
    found: dict[str, Any] = {"type": type(getattr(dataset, "_inner", dataset)).__name__}
    try:
        found["samples"] = len(dataset)
    except TypeError:
        return found
    annotations = getattr(dataset, "ann_file", None)
    if isinstance(annotations, str) and osp.isfile(annotations):
        found["annotations"] = _file_digest(annotations)
    chosen = _chosen(dataset, found["samples"])
    if chosen:
        found["listing"] = hashlib.sha256(_listing(dataset, chosen).encode()).hexdigest()
        sizes = digest_of_sizes(dataset.get_data_info(index).get("img_path") for index in chosen)
        if sizes is not None:
            found["sizes"] = sizes
    return found


def digest_of_sizes(paths: Iterable[Any]) -> str | None:
    """Hash the sizes of files, by which most images that replace others of the same name differ.

    Args:
        paths (Iterable[str]): Paths; other values and missing files are skipped.

    Returns:
        str | None: SHA-256; None if no file exists.
    """
    files = [path for path in paths if isinstance(path, str) and osp.isfile(path)]
    text = "\n".join(str(osp.getsize(path)) for path in files)
    return hashlib.sha256(text.encode()).hexdigest() if files else None


def same_data(before: Any, now: Any) -> bool:
    """Compare two fingerprints, of which one may be of an earlier version without ``sizes``.

    Args:
        before (Any): Stored fingerprint, possibly malformed.
        now (Any): Fingerprint of the current dataset.

    Returns:
        bool: Whether they are equal.
    """
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return before == now
    absent = {"sizes"} - (set(before) & set(now))
    return _without(before, absent) == _without(now, absent)


def _without(entries: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name not in names}


def _file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _chosen(dataset: Any, count: int) -> list[int]:
    if not hasattr(dataset, "get_data_info"):
        return []
    shown = min(count, SAMPLES)
    return sorted({index * count // shown for index in range(shown)})


def _listing(dataset: Any, chosen: Iterable[int]) -> str:
    lines = []
    root = str(getattr(dataset, "data_root", "") or "")
    for index in chosen:
        info = dataset.get_data_info(index)
        path = str(info.get("img_path", ""))
        # The same data at another location have the same fingerprint.
        name = osp.relpath(path, root) if root and path.startswith(root) else osp.basename(path)
        lines.append(
            f"{index}\t{name}\t{info.get('gt_label', '')}\t{len(info.get('instances', ()))}"
        )
    return "\n".join(lines)
