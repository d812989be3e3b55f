"""Checks of sample images for content that is lost on loading."""

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

#: Number of evenly spaced images to check before a run, and time limit in seconds.
LOOKED_AT = 24
SECONDS = 0.4


#: Messages on content that is lost or changed on loading: for one file, and for all checked files.
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
        looked_at (int): Number of images read.
        traits (dict[str, list[str]]): Mapping from keys of ``TRAITS`` to affected files.
        faults (list[str]): Defects of images, each with a fix.
    """

    looked_at: int = 0
    traits: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def warnings(self) -> Iterator[str]:
        """Report content that is lost or ambiguous on loading.

        Yields:
            str: Description of a problem and how to fix it.
        """
        for trait, files in self.traits.items():
            text = f"{len(files)} of {self.looked_at} sampled images (e.g. {files[0]})"
            yield f"{text} {TRAITS[trait][1]}"


def loaded_shape(dataset: Any, info: dict) -> tuple[int, ...] | None:
    """Get the size of an image as loaded by the pipeline.

    Args:
        dataset (Dataset): Dataset with a ``pipeline`` attribute.
        info (dict): Sample dict as returned by ``get_data_info``.

    Returns:
        tuple[int, ...] | None: Height and width, or None if the image cannot be read.
    """
    loader = transform_of(dataset, LoadImageFromFile)
    try:
        image = decode_as(loader, _content(info["img_path"], loader), info["img_path"])
    except (ImageError, DataError, OSError):
        return None
    return image.shape[:2]


def look_at_images(dataset: Any, limit: int = LOOKED_AT, seconds: float = SECONDS) -> ImagesSeen:
    """Check a limited number of evenly spaced images of a dataset.

    Args:
        dataset (Dataset): Dataset with a ``get_data_info`` method.
        limit (int): Maximum number of images. Defaults to 24.
        seconds (float): Time limit in seconds. Defaults to 0.4.

    Returns:
        ImagesSeen: Findings in the checked images.
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
            continue  # training replaces unreadable images, up to a limit
        if time.monotonic() - began > seconds:
            break
    return seen


def _content(path: str, loader: Any) -> bytes:
    arguments = getattr(loader, "backend_args", None) or getattr(loader, "file_client_args", None)
    return fileio.get(path, backend_args=arguments)


def decode_as(loader: Any, content: bytes, path: str) -> np.ndarray:
    """Decode an image like the loading transform of a pipeline.

    Args:
        loader (LoadImageFromFile): Transform that loads the images, or None for the default
            settings.
        content (bytes): Content of the image file.
        path (str): Path of the file, for error messages.

    Returns:
        np.ndarray: Decoded image.

    Raises:
        ImageError: If the image is incomplete or cannot be decoded.
        DataError: If the image would be misread.
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
        return  # multi-band images have no orientation or alpha, and all pages are read
    for trait in traits_of(content, image, info, loader.color_type):
        seen.traits.setdefault(trait, []).append(path)


def traits_of(content: bytes, image: np.ndarray, info: dict, color_type: str) -> Iterator[str]:
    """Find content that is lost or changed when an image is loaded.

    Args:
        content (bytes): Content of the image file.
        image (np.ndarray): Decoded image.
        info (dict): Sample dict as returned by ``get_data_info``.
        color_type (str): ``color_type`` used for decoding.

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
    # A rotation by 90 degrees changes the shape of an image that is not square.
    same_size = header.orientation in (2, 3, 4) or image.shape[0] == image.shape[1]
    if annotated and same_size and header.orientation > 1 and color_type in ("color", "grayscale"):
        yield "turned"


def hides_colors(content: bytes) -> bool:
    """Check whether fully transparent pixels contain colors.

    Args:
        content (bytes): Content of an image file with an alpha channel.

    Returns:
        bool: Whether a fully transparent pixel has a color other than black or white.
    """
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] not in (2, 4):
        return False
    hidden = image[image[..., -1] == 0][:, :-1]
    return bool(len(hidden)) and bool((hidden != hidden[0]).any() or 0 < hidden[0].max() < 255)
