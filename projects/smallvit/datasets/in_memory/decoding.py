"""From the samples of a data set to images of one size."""

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

#: Steps that make the same of the same image each time: applied once, and their result stored.
FIXED = (LoadImageFromFile, Resize, ResizeEdge, CenterCrop, Pad, ToColor)
GIB = 1 << 30
#: Fewer files are read faster than worker processes begin.
_FEW_FILES = 2000
_MAX_WORKERS = 8


class Sources:
    """The images of a data set before and behind the steps that are applied once.

    It is read in worker processes.

    Args:
        dataset (BaseDataset): Tells of each sample by ``get_data_info``.
        steps (Sequence[Callable]): The steps.
    """

    def __init__(self, dataset: Any, steps: Sequence[Callable[[dict], dict]]) -> None:
        self.dataset, self.steps = dataset, list(steps)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray | str, tuple[int, int], str]:
        """Read an image.

        Args:
            index (int): Its index.

        Returns:
            tuple: The image (C, H, W), or why it cannot be read; its height and width as it was
            read; and its name for messages.
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
                    return f"{name}: {type(step).__name__} gave no image", (0, 0), name
        except ImageError as error:
            return str(error), (0, 0), name
        if "img" not in results:
            raise UserError(
                f"{name}: the pipeline of smallvit.InMemory has no image where its random "
                "transforms begin: let it begin with LoadImageFromFile"
            )
        image = results["img"]
        image = image[..., None] if image.ndim == 2 else image
        size = tuple(results.get("ori_shape", image.shape[:2])[:2])
        return np.ascontiguousarray(image.transpose(2, 0, 1)), size, name


class State:
    """A digest of images as they are now: what they hold, or when their files were changed."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, info: dict[str, Any]) -> None:
        """Add an image.

        Args:
            info (dict): What the data set knows of the sample.
        """
        said = f"{info.get('gt_label')}\n{info.get('img_path')}\n"
        image = info.get("img")
        if image is not None:
            self._digest.update(f"{said}{np.shape(image)}\n".encode())
            self._digest.update(np.ascontiguousarray(image))
            return
        try:
            state = os.stat(info["img_path"])
        except (OSError, KeyError):  # in a store, or not there, which reading will tell
            pass
        else:
            said += f"{state.st_size} {state.st_mtime_ns}\n"
        self._digest.update(said.encode())

    def digest(self) -> str:
        """Tell the digest.

        Returns:
            str: 32 hexadecimal digits.
        """
        return self._digest.hexdigest()


def first_image(sources: Sources) -> np.ndarray:
    """Find an image that can be read.

    Args:
        sources (Sources): Images to read.

    Returns:
        np.ndarray: The first such image, (C, H, W).

    Raises:
        DataError: If there is none, or it is not of 8 bits.
    """
    reason = "the data set is empty"
    for index in range(len(sources)):
        image, _, name = sources[index]
        if not isinstance(image, str):
            require_bytes(image, name)
            return image
        reason = image
    raise DataError(f"smallvit.InMemory found no image that can be read: {reason}")


def require_bytes(image: np.ndarray, name: str) -> None:
    """Refuse an image of more than 8 bits.

    Args:
        image (np.ndarray): The image.
        name (str): Its name, for the message.

    Raises:
        DataError: If it is not uint8.
    """
    if image.dtype != np.uint8:
        raise DataError(
            f"{name}: smallvit.InMemory keeps images of 8 bits (uint8), and this one is "
            f"{image.dtype}: put smallvit.ToColor behind LoadImageFromFile, which scales deeper "
            "ones, or read with color_type='color'"
        )


def require_room(count: int, shape: tuple[int, int, int], max_gib: float) -> None:
    """Refuse a data set that takes more memory than it may.

    Args:
        count (int): Number of images.
        shape (tuple[int, int, int]): (C, H, W) of each.
        max_gib (float): The limit.

    Raises:
        UserError: If it is exceeded.
    """
    size = count * int(np.prod(shape))
    if size > max_gib * GIB:
        channels, height, width = shape
        raise UserError(
            f"smallvit.InMemory: {count} images of {channels}x{height}x{width} take "
            f"{size / GIB:.3g} GiB, and max_gib={max_gib:g} is the limit: raise max_gib if the "
            "machine has the memory, make the images smaller by a step before the random ones "
            "(ResizeEdge and CenterCrop), or use the data set itself, without InMemory"
        )


def decode(sources: Sources, header: Header, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Read all images.

    Args:
        sources (Sources): Images to read.
        header (Header): With the shape of all; the unreadable ones are written there.
        sizes (np.ndarray): int32 (N, 2), which is filled.

    Yields:
        np.ndarray: Pixels of a few images (n, C, H, W); those of an unreadable one are 0.

    Raises:
        DataError: If an image has another size than the first one.
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

    way = "put ResizeEdge and CenterCrop, or Resize, before the random transforms"
    if found[0] != wanted[0]:
        way = "read all alike, with LoadImageFromFile(color_type='color')"
    return (
        f"{name} is {shown(found)}, and the images before it are {shown(wanted)}: "
        f"smallvit.InMemory keeps images of one size; {way}"
    )


def into_memory(sources: Sources, header: Header) -> Images:
    """Read all images into the memory of this process.

    Args:
        sources (Sources): Images to read.
        header (Header): With the shape of all.

    Returns:
        Images: The images.
    """
    pixels = np.empty(header.shape, np.uint8)
    sizes = np.zeros((len(sources), 2), np.int32)
    start = 0
    for part in decode(sources, header, sizes):
        pixels[start : start + len(part)] = part
        start += len(part)
    return Images(pixels, sizes, {int(key): why for key, why in header.unreadable.items()})
