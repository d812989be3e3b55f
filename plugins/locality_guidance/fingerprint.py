"""Fingerprints of samples, datasets and checkpoints, to identify stored features."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from smallvit.errors import FeatureStoreError

_BLOCK = 1 << 20


def sample_key(results: Mapping[str, Any]) -> int:
    """Compute a 64-bit key of a sample from its label and its source.

    The source is the folder and file name of the image, so that a dataset can be moved; for a
    dataset in memory it is the image itself, before any transform.

    Args:
        results (Mapping): Input of the data pipeline: ``gt_label`` if the sample has
            one, and ``img_path`` or ``img``.

    Returns:
        int: 64-bit key, the same in every process and on every machine.

    Raises:
        FeatureStoreError: If there is neither ``img_path`` nor ``img``.
    """
    digest = hashlib.blake2b(digest_size=8)
    label = results.get("gt_label")
    digest.update(repr(None if label is None else np.ravel(label).tolist()).encode())
    path = results.get("img_path")
    if path:
        parts = re.split(r"[\\/]", os.fspath(path))
        digest.update("/".join(parts[-2:]).encode())
    elif "img" in results:
        image = np.ascontiguousarray(results["img"])
        digest.update(f"{image.shape} {image.dtype.str}".encode())
        digest.update(image)
    else:
        raise FeatureStoreError(
            "stored features require img_path or img to identify a sample, got neither"
        )
    return int.from_bytes(digest.digest(), "little")


def dataset_fingerprint(keys: Iterable[int]) -> str:
    """Compute a fingerprint of a dataset from its samples and their order.

    Args:
        keys (Iterable[int]): Output of :func:`sample_key` for each sample.

    Returns:
        str: 32 hexadecimal digits.
    """
    keys = np.fromiter(keys, dtype="<u8")
    return hashlib.blake2b(keys, digest_size=16).hexdigest()


def file_sha256(path: str | os.PathLike) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path (str | os.PathLike): Path of the file.

    Returns:
        str: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
