"""Checks of sample images for content that is lost when they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile

from smallvit.datasets.io.headers import read_header
from smallvit.datasets.io.images import decode, size_fault
from smallvit.datasets.parts import transform_of
from smallvit.errors import DataError, ImageError

#: Number of images to check before a run, spread over the dataset, and time limit in seconds.
LOOKED_AT = 24
SECONDS = 0.4


#: Content that is lost or changed when read: for one file, and for all checked files.
TRAITS = {
    "pages": (
        "has several pages, of which only the first is read",
        "have several pages, of which only the first is read. Save each page as a separate file, "
        "or read them as bands (--channels N; smallvit.LoadImageBands in a config)",
    ),
    "transparent": (
        "has transparent pixels, whose hidden colors are read",
        "have transparent pixels, whose hidden colors are read. For a white background, set "
        "color_type='unchanged' and add dict(type='smallvit.ToColor')",
    ),
    "turned": (
        "is rotated or flipped by its EXIF orientation; its size does not reveal whether its "
        "annotations are too",
        "are rotated or flipped by their EXIF orientation, and their size does not reveal whether "
        "their annotations are too. Inspect them, and if not, set "
        "color_type='color_ignore_orientation' in LoadImageFromFile",
    ),
}


@dataclass
class ImagesSeen:
    """Findings in the checked images.

    Args:
        looked_at (int): How many were read.
        traits (dict[str, list[str]]): Files by the keys of ``TRAITS``.
        faults (list[str]): What is wrong with an image, with the way out.
    """

    looked_at: int = 0
    traits: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def warnings(self) -> Iterator[str]:
        """Report what is lost or ambiguous.

        Yields:
            str: A sentence with the way out.
        """
        for trait, files in self.traits.items():
            text = f"{len(files)} of {self.looked_at} sampled images (e.g. {files[0]})"
            yield f"{text} {TRAITS[trait][1]}"


def loaded_shape(dataset: Any, info: dict) -> tuple[int, ...] | None:
    """Determine the size of an image as the pipeline loads it.

    Args:
        dataset (Dataset): The dataset.
        info (dict): A sample of it.

    Returns:
        tuple[int, ...] | None: Height and width; None if it cannot be read.
    """
    loader = transform_of(dataset, LoadImageFromFile)
    try:
        image = decode_as(loader, _content(info["img_path"], loader), info["img_path"])
    except (ImageError, DataError, OSError):
        return None
    return image.shape[:2]


def look_at_images(dataset: Any, limit: int = LOOKED_AT, seconds: float = SECONDS) -> ImagesSeen:
    """Read some images of a dataset, evenly spread over it.

    Args:
        dataset (Dataset): A dataset with ``get_data_info``.
        limit (int): How many at most. Defaults to 24.
        seconds (float): For how long at most. Defaults to 0.4.

    Returns:
        ImagesSeen: What was found.
    """
    seen = ImagesSeen()
    loader = transform_of(dataset, LoadImageFromFile)
    began = time.monotonic()
    count = min(limit, len(dataset)) if loader is not None else 0
    for number in range(count):
        info = dataset.get_data_info(number * len(dataset) // count)
        if not isinstance(info.get("img_path"), str) or "img" in info:
            break
        try:
            _look(_content(info["img_path"], loader), info, loader, seen)
        except DataError as error:
            seen.faults.append(str(error))
        except (ImageError, OSError):
            continue  # one that cannot be read is replaced in training, up to a limit
        if time.monotonic() - began > seconds:
            break
    return seen


def _content(path: str, loader: Any) -> bytes:
    arguments = getattr(loader, "backend_args", None) or getattr(loader, "file_client_args", None)
    return fileio.get(path, backend_args=arguments)


def decode_as(loader: Any, content: bytes, path: str) -> np.ndarray:
    """Decode the content of a file as a pipeline does.

    Args:
        loader (LoadImageFromFile): Transform that loads the images; or None, for its defaults.
        content (bytes): Content of the file.
        path (str): Path of the file, for messages.

    Returns:
        np.ndarray: The image.

    Raises:
        ImageError: If it is not a whole image.
        DataError: If it is not read as it is meant.
    """
    if hasattr(loader, "decode"):
        return loader.decode(content, path)
    color_type = getattr(loader, "color_type", "color")
    return decode(content, path, color_type, getattr(loader, "imdecode_backend", "cv2"))


def _look(content: bytes, info: dict, loader: Any, seen: ImagesSeen) -> None:
    path = info["img_path"]
    image = decode_as(loader, content, path)
    seen.looked_at += 1
    fault = size_fault(content, image, info)
    if fault is not None:
        seen.faults.append(f"{path}: {fault}")
    if hasattr(loader, "reader"):
        return  # bands: all pages are read, and nothing is turned or transparent
    for trait in traits_of(content, image, info, loader.color_type):
        seen.traits.setdefault(trait, []).append(path)


def traits_of(content: bytes, image: np.ndarray, info: dict, color_type: str) -> Iterator[str]:
    """Find content that is lost or changed when a file is read.

    Args:
        content (bytes): Content of the image file.
        image (np.ndarray): What was read of it.
        info (dict): The sample.
        color_type (str): How it was read.

    Yields:
        str: Keys of ``TRAITS``.
    """
    header = read_header(content)
    if header is None:
        return
    if header.frames > 1:
        yield "pages"
    if header.alpha and color_type != "unchanged" and hides_colors(content):
        yield "transparent"
    annotated = "instances" in info or info.get("seg_map_path")
    # A rotation by 90 degrees changes the size of an image that is not square.
    same_size = header.orientation in (2, 3, 4) or image.shape[0] == image.shape[1]
    if annotated and same_size and header.orientation > 1 and color_type in ("color", "grayscale"):
        yield "turned"


def hides_colors(content: bytes) -> bool:
    """Check whether transparent pixels have colors of their own.

    Args:
        content (bytes): A file with an alpha channel.

    Returns:
        bool: Whether a pixel of which nothing is seen has another color than black and white.
    """
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] not in (2, 4):
        return False
    hidden = image[image[..., -1] == 0][:, :-1]
    return bool(len(hidden)) and bool((hidden != hidden[0]).any() or 0 < hidden[0].max() < 255)
