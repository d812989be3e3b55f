"""Draw boxes, masks and label maps with class names on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import mmcv
import numpy as np

from smallvit.analysis.annotations import Annotations
from smallvit.datasets.io.bands import visible

if TYPE_CHECKING:
    from matplotlib.patches import Patch
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]


@dataclass
class Style:
    """Drawing style of annotations.

    Args:
        classes (Sequence[str]): Class names.
        palette (Sequence[tuple[int, int, int]], optional): RGB color of each class. Defaults to
            None: distinct colors.
        boxes (bool): Whether to draw boxes. Defaults to True.
        names (bool): Whether to write the class names of objects. Defaults to True.
        scores (bool): Whether to write scores. Defaults to True.
        alpha (float): Opacity of masks and label maps. Defaults to 0.5.
    """

    classes: Sequence[str]
    palette: Sequence[Color] | None = None
    boxes: bool = True
    names: bool = True
    scores: bool = True
    alpha: float = 0.5

    def __post_init__(self) -> None:
        palette = self.palette
        if isinstance(palette, str) or palette is None or len(palette) != len(self.classes):
            self.palette = distinct_colors(len(self.classes))

    @classmethod
    def of(cls, metainfo: dict, **options: bool | float) -> Style:
        """Create the style for a dataset.

        Args:
            metainfo (dict): Metainfo of the dataset, with optional ``classes`` and ``palette``.
            **options: Other arguments of the class.

        Returns:
            Style: Style with the names and colors of the dataset.
        """
        return cls(metainfo.get("classes") or (), metainfo.get("palette"), **options)

    def name(self, label: int) -> str:
        """Name of a class; its index if it has no name.

        Args:
            label (int): Class index.

        Returns:
            str: Class name.
        """
        known = 0 <= label < len(self.classes)
        return str(self.classes[label]) if known else str(label)

    def color(self, label: int) -> Color:
        """Color of a class.

        Args:
            label (int): Class index.

        Returns:
            tuple[int, int, int]: RGB color; gray for an unknown class.
        """
        known = 0 <= label < len(self.palette)
        return tuple(int(value) for value in self.palette[label]) if known else (128, 128, 128)

    def legend(self, labels: Sequence[int]) -> list[Patch]:
        """Create the legend of a figure.

        Args:
            labels (Sequence[int]): Indices of the drawn classes.

        Returns:
            list[Patch]: Legend entry of each class.
        """
        from matplotlib.patches import Patch

        return [
            Patch(color=np.array(self.color(label)) / 255, label=self.name(label))
            for label in labels
        ]


def distinct_colors(count: int) -> list[Color]:
    """Generate distinguishable colors.

    Args:
        count (int): Number of colors.

    Returns:
        list[tuple[int, int, int]]: RGB colors.
    """
    from matplotlib import colormaps
    from matplotlib.colors import hsv_to_rgb

    colors = colormaps["tab10" if count <= 10 else "tab20"].colors
    if count > 20:
        # Adjacent hues also differ in saturation and brightness.
        steps = np.arange(count)
        saturation, value = np.where(steps % 2, 0.6, 1.0), np.where(steps // 2 % 2, 0.7, 1.0)
        colors = hsv_to_rgb(np.stack([steps / count, saturation, value], axis=1))
    return [tuple(int(255 * value) for value in color) for color in colors[:count]]


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Convert a stored image to a displayable one.

    Args:
        image (np.ndarray): Image (H, W) or (H, W, C), BGR. One or two channels are shown in gray;
            of more than three, the first three are shown. The contrast of multispectral images is
            stretched.

    Returns:
        np.ndarray: RGB (H, W, 3), uint8.
    """
    image = image[..., None] if image.ndim == 2 else image
    of_fractions = image.dtype.kind == "f" and image.max(initial=0) <= 1
    if of_fractions or (image.dtype != np.uint8 and image.shape[-1] > 4):
        image = visible(image)  # bands, of any range
    if image.dtype != np.uint8:
        top = 255 if image.max(initial=0) <= 255 else np.iinfo(np.uint16).max
        image = np.clip(image * (255 / top), 0, 255).astype(np.uint8)
    image = np.repeat(image[..., :1], 3, axis=-1) if image.shape[-1] < 3 else image[..., :3]
    return np.ascontiguousarray(image[..., ::-1])


def enlarge(image: np.ndarray, known: Annotations, size: int) -> tuple[np.ndarray, Annotations]:
    """Resize an image and its annotations, so that labels remain legible.

    Args:
        image (np.ndarray): RGB (H, W, 3).
        known (Annotations): Annotations of the image.
        size (int): Shorter side of the resized image.

    Returns:
        tuple[np.ndarray, Annotations]: Resized image and annotations.
    """
    height, width = image.shape[:2]
    factor = size / min(height, width)
    shape = (max(round(width * factor), 1), max(round(height * factor), 1))
    method = "nearest" if min(height, width) < 64 else "bicubic"
    resized = replace(known)
    if known.boxes is not None:
        resized.boxes = known.boxes * factor
    if known.masks is not None:
        resized.masks = np.stack(
            [_resize_labels(mask.astype(np.uint8), shape).astype(bool) for mask in known.masks]
            or [np.zeros(shape[::-1], bool)]
        )[: len(known.masks)]
    if known.label_map is not None:
        resized.label_map = _resize_labels(known.label_map.astype(np.uint16), shape)
    return mmcv.imresize(image, shape, interpolation=method), resized


def _resize_labels(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return mmcv.imresize(labels, shape, interpolation="nearest")


def draw(image: np.ndarray, known: Annotations, style: Style) -> np.ndarray:
    """Draw annotations on an image.

    Args:
        image (np.ndarray): RGB (H, W, 3).
        known (Annotations): Annotations to draw, except the class of the whole image.
        style (Style): Names, colors and elements to draw.

    Returns:
        np.ndarray: Copy of the image with the annotations.
    """
    image = image.copy()
    if known.label_map is not None:
        for label in np.unique(known.label_map):
            if label < len(style.classes):
                _blend(image, known.label_map == label, style.color(int(label)), style.alpha)
    for label, mask in (
        zip(known.labels, known.masks, strict=True) if known.masks is not None else ()
    ):
        _blend(image, mask, style.color(label), style.alpha)
    return image if known.boxes is None else _draw_boxes(image, known, style)


def _blend(image: np.ndarray, where: np.ndarray, color: Color, alpha: float) -> None:
    image[where] = ((1 - alpha) * image[where] + alpha * np.array(color)).astype(np.uint8)


def _draw_boxes(image: np.ndarray, known: Annotations, style: Style) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    width = max(1, round(min(image.shape[:2]) / 150))
    for place, (label, box) in enumerate(zip(known.labels, known.boxes, strict=True)):
        corners = [
            min(box[0], box[2]),
            min(box[1], box[3]),
            max(box[0], box[2]),
            max(box[1], box[3]),
        ]
        if style.boxes:
            pen.rectangle(corners, outline=style.color(label), width=width)
        words = [style.name(label)] if style.names else []
        if style.scores and known.scores is not None:
            words.append(f"{known.scores[place]:.2f}")
        if words:
            _write(pen, " ".join(words), corners, style.color(label))
    return np.asarray(picture)


def _write(pen: ImageDraw, text: str, box: list[float], color: Color) -> None:
    """Write text above a box, or inside it if there is no space, always within the image."""
    width, height = pen.im.size
    size = max(8, round(min(width, height) / 28))
    font = _font(size)
    while size > 6 and pen.textlength(text, font) > width:
        size -= 1
        font = _font(size)
    length = pen.textlength(text, font)
    left = min(max(box[0], 0), max(width - length, 0))
    top = box[1] - size - 2 if box[1] - size - 2 >= 0 else box[1]
    top = min(max(top, 0), max(height - size - 2, 0))
    pen.rectangle([left, top, left + length, top + size + 2], fill=color)
    bright = sum(color) > 380
    pen.text((left, top), text, fill=(0, 0, 0) if bright else (255, 255, 255), font=font)


@cache
def _font(size: int) -> FreeTypeFont:
    from matplotlib.font_manager import FontProperties, findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont(FontProperties()), size)
