"""Label map loading with validation and error messages that name the file and suggest a fix."""

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
from smallvit.utils.text import join_names

#: Label of pixels that belong to no class.
IGNORED = 255
#: Maximum number of colors listed in a message.
SHOWN = 6
_MODES = {2: "gray and alpha", 3: "RGB", 4: "RGBA"}
#: Labels of a map in which 0 is no class, and classes start at 1.
_REDUCED = np.array([IGNORED, *range(254), IGNORED], dtype=np.uint8)

Value = int | tuple[int, int, int]


@TRANSFORMS.register_module()
class LoadLabelMap(LoadAnnotations):
    """Load and validate a label map, as a replacement for MMSegmentation's ``LoadAnnotations``.

    A label map has one value per pixel: a class index, or 255 for no class. Other values raise
    an error, unless ``label_map`` maps them to labels, such as ``{255: 1}`` for a binary map or
    ``{(0, 0, 0): 0, (255, 0, 0): 1}`` for a color map. The data-report hook replaces
    MMSegmentation's ``LoadAnnotations`` by this class in every pipeline.

    Required keys: ``seg_map_path`` (if missing, as in inference, nothing is loaded),
    ``reduce_zero_label``, ``label_map``, ``seg_fields``. Added key: ``gt_seg_map``, uint8, of
    shape (H, W).

    Args:
        label_map (Mapping, optional): Mapping from values in the files, or colors as
            (red, green, blue), to class indices. Values not in the mapping are kept; all colors
            must be in it. Defaults to None.
        reduce_zero_label (bool, optional): Must equal the setting of the dataset, which takes
            precedence. Defaults to None.
        imdecode_backend (str): Image decoding backend. Defaults to ``'pillow'``, which reads
            palette images as indices.
        backend_args (dict, optional): Arguments of the file backend, as in MMCV. Defaults to
            None.
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
        """Create an instance with the settings of a ``LoadAnnotations`` transform.

        Args:
            stock (LoadAnnotations): Transform of MMSegmentation.

        Returns:
            LoadLabelMap: Transform that loads the same labels.
        """
        return cls(
            reduce_zero_label=stock.reduce_zero_label,
            imdecode_backend=stock.imdecode_backend,
            backend_args=stock.backend_args,
        )

    def transform(self, results: dict) -> dict:
        """Load the label map of a sample, if it has one.

        Args:
            results (dict): Sample dict, optionally with ``seg_map_path``.

        Returns:
            dict: Sample dict with ``gt_seg_map`` if a label map was loaded.
        """
        if results.get("seg_map_path") is not None:
            self._load_seg_map(results)
        return results

    def _load_seg_map(self, results: dict) -> None:
        path = results["seg_map_path"]
        content = fileio.get(path, backend_args=self.backend_args)
        labels = self.labels(content, results)
        # In testing, the image is already resized at this point, but the label map is not.
        image, loaded = results.get("img"), results.get("ori_shape")
        shape = loaded or (labels.shape if image is None else image.shape[:2])
        if tuple(shape) != labels.shape:
            raise DataError(size_fault(path, labels.shape, results["img_path"], tuple(shape)))
        results["gt_seg_map"] = labels
        results["seg_fields"].append("gt_seg_map")

    def labels(self, content: bytes, results: dict) -> np.ndarray:
        """Decode a label map and convert it to labels.

        Args:
            content (bytes): Content of the label map file.
            results (dict): Sample dict with ``seg_map_path`` and the settings of the dataset.

        Returns:
            np.ndarray: Labels, uint8, of shape (H, W).

        Raises:
            ImageError: If the file cannot be decoded.
            DataError: If the values are not valid labels.
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
        """Convert labels in the file to class indices of the dataset."""
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
            f"{path}: values {join_names(wrong)} are outside of {first} to "
            f"{first + len(classes) - 1} ({join_names(named)}; {IGNORED} is ignored). Correct the "
            f"label map, or {say_label_map(found, classes)}"
        )


def decode_map(content: bytes, path: str, backend: str) -> np.ndarray:
    """Decode a label map without changing its values.

    Args:
        content (bytes): Content of the label map file.
        path (str): Path of the file, for error messages.
        backend (str): Image decoding backend.

    Returns:
        np.ndarray: Values of shape (H, W), or (H, W, C) with channels in RGB order.

    Raises:
        ImageError: If the file is incomplete or damaged, or the image exceeds the pixel limit.
    """
    found = decode(content, path, "unchanged", backend)
    if found.ndim == 3 and found.shape[2] >= 3:
        found = np.concatenate([found[..., 2::-1], found[..., 3:]], axis=-1)
    return found


def one_channel(
    found: np.ndarray, path: str, label_map: Mapping[Value, int] | None = None
) -> np.ndarray:
    """Convert a label map to one value per pixel, mapped by ``label_map``.

    Args:
        found (np.ndarray): Decoded label map of shape (H, W), or (H, W, C) in RGB order.
        path (str): Path of the file, for error messages.
        label_map (Mapping, optional): Mapping from values or colors to labels. Defaults to None.

    Returns:
        np.ndarray: Integer values of shape (H, W).

    Raises:
        DataError: If the label map has colors and ``label_map`` does not define their labels.
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
        values (np.ndarray): Integer values.
        label_map (Mapping, optional): Mapping from old to new values.

    Returns:
        np.ndarray: New values. Values not in ``label_map`` are unchanged.
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
        found (np.ndarray): Decoded label map of shape (H, W, C), in RGB order.
        path (str): Path of the file, for error messages.
        label_map (Mapping): Mapping from colors to class indices.

    Returns:
        np.ndarray: Labels, uint8, of shape (H, W).

    Raises:
        DataError: If a color is not in ``label_map``.
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
    """Suggest a ``label_map`` setting for the values of a file.

    Args:
        values (Sequence[int]): Values that occur in the file.
        classes (Sequence[str]): Class names of the dataset.

    Returns:
        str: Suggested setting, with actual values if there are as many values as classes.
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
    """Describe a size mismatch between a label map and its image.

    Args:
        path (str): Path of the label map.
        shape (tuple[int, ...]): Height and width of the label map.
        image_path (str): Path of the image.
        image_shape (tuple[int, ...]): Height and width of the image.

    Returns:
        str: Description of the mismatch and how to fix it.
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
