"""A prediction drawn on its image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from smallvit.analysis.pictures import draw_instances, draw_label_map
from smallvit.apis.structures import ClassPrediction, InstancePrediction, Prediction
from smallvit.compat import drawn_texts

#: Smaller images are enlarged to this, so that texts stay legible; larger ones stay as they are.
SHORTER_SIDE = 384


def draw(
    image: np.ndarray, prediction: Prediction, palette: Sequence | None = None, name: str = ""
) -> np.ndarray:
    """Draw what was predicted.

    Args:
        image (np.ndarray): (H, W, 3), BGR, or (H, W).
        prediction (Prediction): What a predictor returned for it.
        palette (Sequence, optional): Color of each class, RGB. Defaults to None: colors of our
            own.
        name (str): Name of the image, for errors. Defaults to "".

    Returns:
        np.ndarray: The picture, RGB.
    """
    drawn_texts.install()
    image = _three_channels(image)
    size = max(SHORTER_SIDE, min(image.shape[:2]))
    if isinstance(prediction, ClassPrediction):
        return _draw_class(image, prediction, size)
    highest = prediction.labels.max(initial=0)
    metainfo = _metainfo(prediction.classes, palette, int(highest) + 1)
    if isinstance(prediction, InstancePrediction):
        found = {
            "bboxes": prediction.boxes,
            "labels": prediction.labels,
            "scores": prediction.scores,
            "masks": prediction.masks,
        }
        return draw_instances(image, found, metainfo, size, 0.0, name)
    return draw_label_map(image, prediction.labels, metainfo, size)


def _three_channels(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = image.clip(0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = image[:, :, None]
    return np.ascontiguousarray(
        np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]
    )


def _metainfo(classes: Sequence[str], palette: Sequence | None, count: int) -> dict:
    count = max(count, len(classes))
    names = [*classes, *map(str, range(len(classes), count))]
    if palette is None or len(palette) < count:
        palette = [_color(number) for number in range(count)]
    return {"classes": names, "palette": [tuple(color) for color in palette]}


def _color(number: int) -> tuple[int, int, int]:
    """Hues a golden section apart: neighbors differ, however many there are."""
    red, green, blue = colorsys.hsv_to_rgb(0.618034 * number % 1, 0.75, 0.95)
    return int(255 * red), int(255 * green), int(255 * blue)


def _draw_class(image: np.ndarray, prediction: ClassPrediction, size: int) -> np.ndarray:
    """The image over a line with the class."""
    from matplotlib.font_manager import findfont
    from PIL import Image, ImageDraw, ImageFont

    factor = size / min(image.shape[:2])
    shape = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    way = cv2.INTER_NEAREST if min(image.shape[:2]) < 64 else cv2.INTER_CUBIC
    enlarged = cv2.resize(image, shape, interpolation=way) if factor > 1 else image
    height = max(24, enlarged.shape[0] // 14)
    canvas = np.full((enlarged.shape[0] + height, *enlarged.shape[1:]), 255, np.uint8)
    canvas[: -height or None] = enlarged[:, :, ::-1]
    picture = Image.fromarray(canvas)
    text = f"{prediction.name} {prediction.score:.2f}"
    font = ImageFont.truetype(findfont("DejaVu Sans"), int(0.7 * height))
    ImageDraw.Draw(picture).text((6, enlarged.shape[0] + 0.1 * height), text, (0, 0, 0), font)
    return np.asarray(picture)
