"""Image sources for prediction: files, folders, patterns, URLs, videos and cameras."""

from __future__ import annotations

import glob
import os
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from smallvit.datasets.io.bands import BAND_ENDINGS
from smallvit.engine.checkpoint.downloads import download
from smallvit.errors import CheckpointError, ImageError, UserError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CAMERA = "camera"
_WEB = ("http://", "https://")


@dataclass(frozen=True)
class Item:
    """Image to predict.

    Args:
        name (str): Unique name: the path relative to the source, with "/".
        origin (str): Path, URL, or video and frame number.
        stamp (tuple[int, ...] | None): Size and modification time of a file, to detect changes;
            size and frame number for a video, empty for a URL, None for a frame of a camera.
        read (Callable): Function that takes a predictor and returns the image.
    """

    name: str
    origin: str
    stamp: tuple[int, ...] | None
    read: Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Frames:
    """Selection of frames from videos and cameras.

    Args:
        every (int): Step between frames. Defaults to 1.
        most (int, optional): Maximum number of frames per video. Defaults to None.
    """

    every: int = 1
    most: int | None = None


def endings_of(predictor: Any) -> tuple[str, ...]:
    """Find which files of a folder a model reads.

    Args:
        predictor (Predictor): Predictor of the model.

    Returns:
        tuple[str, ...]: Endings of photographs, or of files of bands.
    """
    return IMAGES if predictor.steps.bands is None else BAND_ENDINGS


def count_of(sources: Sequence[str], endings: tuple[str, ...] = IMAGES) -> int | None:
    """Count the images without reading them.

    Args:
        sources (Sequence[str]): Sources, as for :func:`find_items`.
        endings (tuple[str, ...]): Endings of images in folders and patterns. Defaults to those of
            photographs.

    Returns:
        int | None: Number of images; None if there is a video or camera.
    """
    if any(_is_camera(source) or _is_video(source) for source in sources):
        return None
    web = sum(source.startswith(_WEB) for source in sources)
    return web + sum(len(files) for _, files in _files_of(sources, endings))


def find_items(
    sources: Sequence[str],
    downloads: str | os.PathLike,
    frames: Frames | None = None,
    endings: tuple[str, ...] = IMAGES,
) -> Iterator[Item]:
    """Find the images of all sources, in a deterministic order.

    Args:
        sources (Sequence[str]): Files, folders (searched recursively), patterns such as
            ``"*.jpg"``, HTTP URLs, videos, and ``"camera"`` or ``"camera:1"``.
        downloads (str | os.PathLike): Folder for downloaded images.
        frames (Frames, optional): Selection of video frames. Defaults to None: all.
        endings (tuple[str, ...]): Endings of images in folders and patterns. Defaults to those of
            photographs.

    Yields:
        Item: Each image.

    Raises:
        UserError: If a source does not exist or has no image.
    """
    taken: Counter[str] = Counter()
    frames = frames or Frames()
    found = _files_of(sources, endings)
    several = len(found) > 1
    single = [path for source, files in found if not osp.isdir(source) for path in files]
    common = _common_folder(single) if single else ""
    for source, files in found:
        inside = osp.isdir(source)
        base = source if inside else common
        for path in files:
            name = osp.relpath(path, base).replace(os.sep, "/")
            if inside and several:
                name = f"{osp.basename(osp.normpath(source))}/{name}"
            yield _of_file(_unique(name, taken), path)
    for source in sources:
        if source.startswith(_WEB):
            yield _of_address(source, str(downloads), taken, endings)
        elif _is_camera(source) or _is_video(source):
            yield from _of_video(source, frames, taken)


def _files_of(sources: Sequence[str], endings: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    found = []
    for source in sources:
        if source.startswith(_WEB) or _is_camera(source) or _is_video(source):
            continue
        if osp.isdir(source):
            files = sorted(_below(source, endings))
        elif osp.isfile(source):
            files = [source]
        else:
            paths = glob.glob(source, recursive=True)
            files = sorted(path for path in paths if path.lower().endswith(endings))
            if not files and not glob.has_magic(source):
                raise UserError(f"no such file or folder: {source}")
        if not files:
            raise UserError(f"{source} has no image ({', '.join(endings)})")
        found.append((source, files))
    return found


def evenly_chosen_files(
    sources: Sequence[str], most: int, endings: tuple[str, ...] = IMAGES
) -> list[str]:
    """Select evenly spaced image files, so that the classes of a folder are represented.

    Args:
        sources (Sequence[str]): Files, folders (searched recursively) and patterns.
        most (int): Maximum number of files.
        endings (tuple[str, ...]): Endings of images in folders and patterns. Defaults to those of
            photographs.

    Returns:
        list[str]: Paths of the files.

    Raises:
        UserError: If there is no image file.
    """
    files = [file for _, found in _files_of(sources, endings) for file in found]
    if not files:
        raise UserError(f"expected local image files for calibration, got {', '.join(sources)}")
    count = min(most, len(files))
    return [files[number * len(files) // count] for number in range(count)]


def _below(folder: str, endings: tuple[str, ...]) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(endings) and not name.startswith("."):
                yield osp.join(place, name)


def _common_folder(paths: list[str]) -> str:
    return osp.commonpath([osp.dirname(osp.abspath(path)) for path in paths])


def _is_video(source: str) -> bool:
    return source.lower().endswith(VIDEOS) and not source.startswith(_WEB)


def _is_camera(source: str) -> bool:
    kind, _, number = source.partition(":")
    return kind == CAMERA and (not number or number.isdigit()) and not osp.exists(source)


def _unique(name: str, taken: Counter[str]) -> str:
    """Make a name unique, and remove parts that would lead out of the output folder."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    name = "/".join(parts) or "image"
    taken[name] += 1
    if taken[name] == 1:
        return name
    stem, suffix = osp.splitext(name)
    return _unique(f"{stem}_{taken[name]}{suffix}", taken)


def _of_file(name: str, path: str) -> Item:
    stamp: tuple[int, ...]
    try:
        found = os.stat(path)
        stamp = (found.st_size, found.st_mtime_ns)
    except OSError:
        stamp = ()  # reading the file reports the error
    return Item(name, path, stamp, lambda predictor: predictor.read(path))


def _of_address(url: str, folder: str, taken: Counter[str], endings: tuple[str, ...]) -> Item:
    plain = url.partition("?")[0].partition("#")[0]
    name = osp.basename(plain) or "image"
    name = name if name.lower().endswith(endings) else f"{name}.jpg"

    def read(predictor: Any) -> np.ndarray:
        try:
            path = download(url, folder, progress=False)
        except CheckpointError as error:  # its message applies to any kind of file
            raise ImageError(str(error)) from error
        return predictor.read(path)

    return Item(_unique(name, taken), plain, (), read)


def _of_video(source: str, frames: Frames, taken: Counter[str]) -> Iterator[Item]:
    import cv2

    camera = _is_camera(source)
    if not camera and not osp.isfile(source):
        raise UserError(f"no such video: {source}")
    video = cv2.VideoCapture(int(source.partition(":")[2] or 0) if camera else source)
    if not video.isOpened():
        what = "cannot open this camera" if camera else "OpenCV cannot read this video"
        raise UserError(f"{source}: {what}")
    base = _unique(osp.basename(source).replace(":", "_"), taken)
    number = given = 0
    try:
        while frames.most is None or given < frames.most:
            there, image = video.read()
            if not there:
                break
            if number % frames.every == 0:
                given += 1
                yield Item(
                    f"{base}/{number:06d}.png",
                    f"{source}, frame {number}",
                    None if camera else (osp.getsize(source), number),
                    partial(_as_read, image),
                )
            number += 1
    finally:
        video.release()
    if number == 0:
        raise UserError(f"{source} has no readable frame")


def _as_read(image: np.ndarray, predictor: Any) -> np.ndarray:
    import cv2

    if predictor.steps.bands is not None:
        raise ImageError(
            f"a frame has three colors, and the model reads {predictor.steps.bands.channels} bands"
        )
    is_gray = predictor.steps.color_type == "grayscale"
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if is_gray else image
