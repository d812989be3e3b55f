"""Label map loading with validation, and errors that name the file and a fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import mmengine.fileio as fileio
import numpy as np
import torch
from mmcv.transforms import LoadAnnotations

from smallvit.datasets.io.images import decode
from smallvit.errors import DataError
from smallvit.registry import TRANSFORMS
from smallvit.utils.text import name_some

#: Label map value of pixels without a class.
IGNORED = 255
#: Maximum number of colors in a message.
SHOWN = 6
_MODES = {2: "gray and alpha", 3: "RGB", 4: "RGBA"}
#: Labels of a map in which 0 is no class, and classes start at 1.
_REDUCED = np.array([IGNORED, *range(254), IGNORED], dtype=np.uint8)

Value = int | tuple[int, int, int]


@TRANSFORMS.register_module()
class LoadLabelMap(LoadAnnotations):
    """Load and validate the label map of an image, like mmseg's ``LoadAnnotations``.

    A map has one label per pixel: a class index, or 255 for none. Any other kind
    is refused with its path, unless ``label_map`` defines the meaning of its values: a binary
    map by ``{255: 1}``, a color map by ``{(0, 0, 0): 0, (255, 0, 0): 1}``. The
    data-report hook uses this class in place of mmseg's in every pipeline.

    Required keys: ``seg_map_path`` (without it, as in inference, nothing is loaded),
    ``reduce_zero_label``, ``label_map``, ``seg_fields``. Added: ``gt_seg_map``, (H, W) of
    uint8.

    Args:
        label_map (Mapping, optional): Class of each value in the files, or of each color as
            (red, green, blue). Values that it does not name stay; colors must all be named.
            Defaults to None.
        reduce_zero_label (bool, optional): Must be that of the dataset, which counts.
            Defaults to None.
        imdecode_backend (str): The decoder. Defaults to ``'pillow'``, which reads palette
            images as numbers.
        backend_args (dict, optional): As in mmcv. Defaults to None.
    """

    # Set by the data-report hook.
    classes: Sequence[str] | None = None
    ignored: tuple[int, ...] = (IGNORED,)
    seen: torch.Tensor | None = None

    def __init__(
        self,
        label_map: Mapping[Value, int] | None = None,
        reduce_zero_label: bool | None = None,
        imdecode_backend: str = "pillow",
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(
            with_bbox=False,
            with_label=False,
            with_seg=True,
            imdecode_backend=imdecode_backend,
            backend_args=backend_args,
        )
        self.reduce_zero_label = reduce_zero_label
        self.label_map = None if label_map is None else dict(label_map)
        wrong = [one for one in (label_map or {}).values() if one not in range(IGNORED + 1)]
        if wrong:
            raise ValueError(f"expected classes from 0 to {IGNORED} in label_map, got {wrong[0]!r}")

    @classmethod
    def like(cls, stock: LoadAnnotations) -> LoadLabelMap:
        """Create an instance with the settings of mmseg's transform.

        Args:
            stock (LoadAnnotations): mmseg's transform.

        Returns:
            LoadLabelMap: A transform that loads the same labels.
        """
        return cls(
            reduce_zero_label=stock.reduce_zero_label,
            imdecode_backend=stock.imdecode_backend,
            backend_args=stock.backend_args,
        )

    def transform(self, results: dict) -> dict:
        """Load the label map, if there is one.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample.
        """
        if results.get("seg_map_path") is not None:
            self._load_seg_map(results)
        return results

    def _load_seg_map(self, results: dict) -> None:
        path = results["seg_map_path"]
        content = fileio.get(path, backend_args=self.backend_args)
        labels = self.labels(content, results)
        # When testing, the image has been resized at this point, but not the label map.
        image, loaded = results.get("img"), results.get("ori_shape")
        shape = loaded or (labels.shape if image is None else image.shape[:2])
        if tuple(shape) != labels.shape:
            raise DataError(size_fault(path, labels.shape, results["img_path"], tuple(shape)))
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")

    def labels(self, content: bytes, results: dict) -> np.ndarray:
        """Convert the bytes of a label map to labels.

        Args:
            content (bytes): Content of the image file.
            results (dict): The sample, for ``seg_map_path`` and the dataset's settings.

        Returns:
            np.ndarray: (H, W) of uint8.

        Raises:
            ImageError: If it cannot be decoded.
            DataError: If its values are not labels.
        """
        path = results["seg_map_path"]
        found = decode_map(content, path, self.imdecode_backend)
        values = one_channel(found, path, self.label_map)
        known = None if _in_colors(self.label_map) else self.label_map
        labels = self._reduced(renamed(values, known), results)
        present = np.flatnonzero(cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel())
        allowed = {*range(len(self.classes or ())), *self.ignored}
        if self.classes is not None and not allowed.issuperset(present.tolist()):
            raise DataError(self._outside(values, path, results))
        if self.seen is not None:
            self.seen[torch.from_numpy(present)] = 1
        return labels

    def _reduced(self, values: np.ndarray, results: dict) -> np.ndarray:
        """Labels of the dataset's classes, from the labels in the file."""
        if values.dtype != np.uint8 and (values.min() < 0 or values.max() > IGNORED):
            raise DataError(self._outside(values, results["seg_map_path"], results))
        labels = values.astype(np.uint8)
        if results.get("reduce_zero_label"):
            labels = _REDUCED[labels]
        of_classes = results.get("label_map")
        return renamed(labels, of_classes) if of_classes else labels

    def _outside(self, values: np.ndarray, path: str, results: dict) -> str:
        first = 1 if results.get("reduce_zero_label") else 0
        classes = self.classes or ()
        known = {*range(first, first + len(classes)), *self.ignored, *([0] if first else [])}
        found = np.unique(values).tolist()
        wrong = [value for value in found if value not in known]
        named = [f"{number} {name}" for number, name in enumerate(classes, first)]
        return (
            f"{path}: values {name_some(wrong)} are outside of {first} to "
            f"{first + len(classes) - 1} ({name_some(named)}; {IGNORED} is ignored). Correct the "
            f"label map, or {say_label_map(found, classes)}"
        )


def decode_map(content: bytes, path: str, backend: str) -> np.ndarray:
    """Decode a label map without changing its values.

    Args:
        content (bytes): Content of the image file.
        path (str): Its name, for messages.
        backend (str): The decoder.

    Returns:
        np.ndarray: (H, W), or (H, W, C) with red first.

    Raises:
        ImageError: If it is not a whole image, or has more pixels than an image may.
    """
    found = decode(content, path, "unchanged", backend)
    if found.ndim == 3 and found.shape[2] >= 3:
        found = np.concatenate([found[..., 2::-1], found[..., 3:]], axis=-1)
    return found


def one_channel(
    found: np.ndarray, path: str, label_map: Mapping[Value, int] | None = None
) -> np.ndarray:
    """Reduce a map to one value per pixel, mapped by ``label_map``.

    Args:
        found (np.ndarray): The decoded map, (H, W) or (H, W, C), red first.
        path (str): Its file, for messages.
        label_map (Mapping, optional): What its values or colors mean. Defaults to None.

    Returns:
        np.ndarray: (H, W) of whole numbers.

    Raises:
        DataError: If a pixel has several values and nothing says what they mean.
    """
    if found.dtype.kind not in "uib":
        raise DataError(f"{path}: expected integers in a label map, got {found.dtype}")
    if found.ndim == 3 and found.shape[2] == 1:
        found = found[..., 0]
    if found.ndim == 2:
        return found.astype(np.uint8) if found.dtype == bool else found
    channels = found.shape[2]
    if channels >= 3 and _in_colors(label_map):
        return of_colors(found, path, label_map)
    equal = channels >= 3 and bool((found[..., :1] == found[..., :3]).all())
    if label_map and equal:
        return found[..., 0]
    raise DataError(
        f"{path}: expected one label per pixel, got {channels} channels "
        f"({_MODES.get(channels, 'several')}). Save it as a gray or palette image, or "
        f"{_say_colors(found, equal)}"
    )


def _in_colors(label_map: Mapping[Value, int] | None) -> bool:
    return bool(label_map) and any(isinstance(key, (tuple, list)) for key in label_map)


def renamed(values: np.ndarray, label_map: Mapping[int, int] | None) -> np.ndarray:
    """Map values to labels.

    Args:
        values (np.ndarray): Whole numbers.
        label_map (Mapping, optional): The new of each old value.

    Returns:
        np.ndarray: The new values; those that are not named as they were.
    """
    if not label_map:
        return values
    if values.dtype == np.uint8:
        table = np.arange(256, dtype=np.uint8)
        for old, label in label_map.items():
            if 0 <= old < 256:
                table[old] = label
        return table[values]
    new = values.astype(np.int64)
    for old, label in label_map.items():
        new[values == old] = label
    return new


def of_colors(found: np.ndarray, path: str, label_map: Mapping[Value, int]) -> np.ndarray:
    """Map colors to labels.

    Args:
        found (np.ndarray): The decoded map, (H, W, C), red first.
        path (str): Its file, for messages.
        label_map (Mapping): Class of each color.

    Returns:
        np.ndarray: (H, W) of uint8.

    Raises:
        DataError: If a color is not named.
    """
    parts = found[..., :3].astype(np.int32)
    codes = parts[..., 0] * 65536 + parts[..., 1] * 256 + parts[..., 2]
    labels, named = np.zeros(codes.shape, np.uint8), np.zeros(codes.shape, bool)
    for (red, green, blue), label in label_map.items():
        here = codes == red * 65536 + green * 256 + blue
        labels[here] = label
        named |= here
    if not named.all():
        raise DataError(f"{path} has colors that are not in label_map: {_colors(found[~named])}")
    return labels


def say_label_map(values: Sequence[int], classes: Sequence[str]) -> str:
    """Suggest the setting that defines the meaning of a file's values.

    Args:
        values (Sequence[int]): What the file has.
        classes (Sequence[str]): Class names of the dataset.

    Returns:
        str: The setting, filled in where the number of values is that of the classes.
    """
    fitting = 0 < len(values) == len(classes)
    pairs = [f"{value}: {number}" for number, value in enumerate(values)] if fitting else []
    meant = ", ".join(pairs) or "VALUE: CLASS, ..."
    return (
        "map its values to classes by replacing LoadAnnotations with "
        f"dict(type='smallvit.LoadLabelMap', label_map={{{meant}}})"
    )


def _say_colors(found: np.ndarray, equal: bool) -> str:
    if equal:
        values = np.unique(found[..., 0]).tolist()
        meant = ", ".join(f"{value}: CLASS" for value in values[:SHOWN])
    else:
        meant = ", ".join(f"{color}: CLASS" for color in _colors(found).split("; "))
    return (
        f"map its {'values' if equal else 'colors'} to classes by replacing LoadAnnotations with "
        f"dict(type='smallvit.LoadLabelMap', label_map={{{meant}}})"
    )


def _colors(found: np.ndarray) -> str:
    pixels = found.reshape(-1, found.shape[-1])[:, :3]
    colors = np.unique(pixels, axis=0).tolist()
    return "; ".join(f"({', '.join(map(str, color))})" for color in colors[:SHOWN])


def size_fault(
    path: str, shape: tuple[int, ...], image_path: str, image_shape: tuple[int, ...]
) -> str:
    """Report a label map whose size differs from its image's.

    Args:
        path (str): The label map.
        shape (tuple[int, ...]): Its height and width.
        image_path (str): File of the image that the label map belongs to.
        image_shape (tuple[int, ...]): Its height and width.

    Returns:
        str: A sentence with the way out.
    """
    way_out = "Create the label map again from this image"
    if shape == image_shape[::-1]:
        way_out = (
            "One is rotated by 90 degrees. If the image was rotated by its EXIF orientation and "
            "the label map was not, set color_type='color_ignore_orientation' in "
            "LoadImageFromFile; otherwise rotate the label map"
        )
    return (
        f"{path} is {shape[1]}x{shape[0]} pixels, but {image_shape[1]}x{image_shape[0]} in "
        f"{image_path}. {way_out}"
    )
