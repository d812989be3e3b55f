"""Loading of all images of a dataset with deterministic transforms."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import CenterCrop, LoadImageFromFile, Pad, Resize
from mmpretrain.datasets.transforms import ResizeEdge

from smallvit.datasets.in_memory.cache_file import Header, Images
from smallvit.datasets.io.parallel import CHUNK, read_all
from smallvit.datasets.pixels import ToColor
from smallvit.errors import DataError, ImageError, UserError

#: Deterministic transforms, which are applied once; their outputs are cached.
FIXED = (LoadImageFromFile, Resize, ResizeEdge, CenterCrop, Pad, ToColor)
GIB = 1 << 30
#: Maximum number of files that are read without worker processes, which take longer to start.
_FEW_FILES = 2000
_MAX_WORKERS = 8


class Sources:
    """Map-style dataset of the images after the deterministic transforms.

    Args:
        dataset (BaseDataset): Wrapped dataset, which implements ``get_data_info``.
        steps (Sequence[Callable]): Deterministic transforms.
    """

    def __init__(self, dataset: Any, steps: Sequence[Callable[[dict], dict]]) -> None:
        self.dataset, self.steps = dataset, list(steps)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray | str, tuple[int, int], str]:
        """Load an image and apply the deterministic transforms.

        Args:
            index (int): Index of the sample.

        Returns:
            tuple: Image (C, H, W), or an error message if it is unreadable; original height and
            width; and name of the image for messages.
        """
        results = self.dataset.get_data_info(index)
        name = str(results.get("img_path") or f"sample {index}")
        size = np.shape(results.get("img"))[:2] or (0, 0)
        if "img" in results:
            results.setdefault("img_shape", size), results.setdefault("ori_shape", size)
        try:
            for step in self.steps:
                results = step(results)
                if results is None:  # LoadImageFromFile(ignore_empty=True)
                    return f"{name}: {type(step).__name__} returned no image", (0, 0), name
        except ImageError as error:
            return str(error), (0, 0), name
        if "img" not in results:
            raise UserError(
                f"{name}: the pipeline of smallvit.InMemory does not load an image before its "
                "random transforms. Put LoadImageFromFile first"
            )
        image = results["img"]
        image = image[..., None] if image.ndim == 2 else image
        size = tuple(results.get("ori_shape", image.shape[:2])[:2])
        return np.ascontiguousarray(image.transpose(2, 0, 1)), size, name


class State:
    """Digest of the source images, from their pixels or file modification times."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, info: dict[str, Any]) -> None:
        """Add a sample to the digest.

        Args:
            info (dict): Annotation dict of the sample.
        """
        said = f"{info.get('gt_label')}\n{info.get('img_path')}\n"
        image = info.get("img")
        if image is not None:
            self._digest.update(f"{said}{np.shape(image)}\n".encode())
            self._digest.update(np.ascontiguousarray(image))
            return
        try:
            state = os.stat(info["img_path"])
        except (OSError, KeyError):  # in an LMDB store, or missing (reported when it is loaded)
            pass
        else:
            said += f"{state.st_size} {state.st_mtime_ns}\n"
        self._digest.update(said.encode())

    def digest(self) -> str:
        """Compute the digest.

        Returns:
            str: 32 hexadecimal digits.
        """
        return self._digest.hexdigest()


def first_image(sources: Sources) -> np.ndarray:
    """Load the first readable image.

    Args:
        sources (Sources): Images to load.

    Returns:
        np.ndarray: Image (C, H, W).

    Raises:
        DataError: If no image is readable, or the image is not uint8.
    """
    reason = "the dataset is empty"
    for index in range(len(sources)):
        image, _, name = sources[index]
        if not isinstance(image, str):
            require_bytes(image, name)
            return image
        reason = image
    raise DataError(f"smallvit.InMemory found no readable image: {reason}")


def require_bytes(image: np.ndarray, name: str) -> None:
    """Check that an image has 8 bits per channel.

    Args:
        image (np.ndarray): Image of any shape.
        name (str): Name of the image, for the error message.

    Raises:
        DataError: If the image is not uint8.
    """
    if image.dtype != np.uint8:
        raise DataError(
            f"{name}: smallvit.InMemory requires uint8 images, got {image.dtype}. Add "
            "smallvit.ToColor after LoadImageFromFile to scale deeper images, or set "
            "color_type='color'"
        )


def require_room(count: int, shape: tuple[int, int, int], max_gib: float) -> None:
    """Check that the images do not exceed the memory limit.

    Args:
        count (int): Number of images.
        shape (tuple[int, int, int]): Shape (C, H, W) of each image.
        max_gib (float): Memory limit in GiB.

    Raises:
        UserError: If the limit is exceeded.
    """
    size = count * int(np.prod(shape))
    if size > max_gib * GIB:
        channels, height, width = shape
        raise UserError(
            f"smallvit.InMemory: {count} images of {channels}x{height}x{width} require "
            f"{size / GIB:.3g} GiB, above the limit max_gib={max_gib:g}. Increase max_gib if the "
            "machine has enough memory, reduce the image size before the random transforms "
            "(ResizeEdge and CenterCrop), or use the dataset without InMemory"
        )


def decode(sources: Sources, header: Header, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Load all images in batches.

    Args:
        sources (Sources): Images to load.
        header (Header): Header with the expected shape; unreadable images are recorded in it.
        sizes (np.ndarray): int32 output array (N, 2) for the original image sizes.

    Yields:
        np.ndarray: Images (n, C, H, W); unreadable images are zero.

    Raises:
        DataError: If the images differ in size.
    """
    shape = tuple(header.shape[1:])
    blank, number = np.zeros(shape, np.uint8), 0
    for items in _read(sources):
        images = []
        for image, size, name in items:
            if isinstance(image, str):
                header.unreadable[str(number)] = image
                image = blank
            require_bytes(image, name)
            if image.shape != shape:
                raise DataError(_other_shape(name, image.shape, shape))
            images.append(image)
            sizes[number] = size
            number += 1
        yield np.stack(images)


def _read(sources: Sources) -> Iterator[list]:
    files = bool(sources.steps) and "img" not in sources.dataset.get_data_info(0)
    if files and len(sources) > _FEW_FILES:
        yield from read_all(sources, min(_MAX_WORKERS, os.cpu_count() or 1))
        return
    for start in range(0, len(sources), CHUNK):
        yield [sources[i] for i in range(start, min(start + CHUNK, len(sources)))]


def _other_shape(name: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    def shown(shape: tuple[int, ...]) -> str:
        return f"{shape[1]}x{shape[2]} with {shape[0]} channel{'s' if shape[0] > 1 else ''}"

    way = "Add ResizeEdge and CenterCrop, or Resize, before the random transforms"
    if found[0] != wanted[0]:
        way = "Set color_type='color' in LoadImageFromFile"
    return (
        f"{name}: smallvit.InMemory requires images of the same size, expected {shown(wanted)} as "
        f"in previous images, got {shown(found)}. {way}"
    )


def into_memory(sources: Sources, header: Header) -> Images:
    """Load all images into the memory of the current process.

    Args:
        sources (Sources): Images to load.
        header (Header): Header with the expected shape; unreadable images are recorded in it.

    Returns:
        Images: Pixels, original sizes and errors of all images.
    """
    pixels = np.empty(header.shape, np.uint8)
    sizes = np.zeros((len(sources), 2), np.int32)
    start = 0
    for part in decode(sources, header, sizes):
        pixels[start : start + len(part)] = part
        start += len(part)
    return Images(pixels, sizes, {int(key): why for key, why in header.unreadable.items()})
