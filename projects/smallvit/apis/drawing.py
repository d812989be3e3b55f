"""A prediction drawn on its image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smallvit.analysis import drawing
from smallvit.analysis.annotations import Annotations
from smallvit.analysis.drawing import Style, as_rgb, enlarge
from smallvit.analysis.pictures import predicted_annotations
from smallvit.apis.structures import ClassPrediction, InstancePrediction, Prediction

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
    shown = as_rgb(image)
    size = max(SHORTER_SIDE, min(shown.shape[:2]))
    if isinstance(prediction, ClassPrediction):
        return _draw_class(shown, prediction, size)
    style = Style.of({"classes": prediction.classes, "palette": palette})
    if isinstance(prediction, InstancePrediction):
        found = {
            "bboxes": prediction.boxes,
            "labels": prediction.labels,
            "scores": prediction.scores,
            "masks": prediction.masks,
        }
        said = {"pred_instances": found, "img_path": name}
        return drawing.draw(
            *enlarge(shown, predicted_annotations(said, shown.shape[:2]), size), style
        )
    return drawing.draw(*enlarge(shown, Annotations(label_map=prediction.labels), size), style)


def _draw_class(image: np.ndarray, prediction: ClassPrediction, size: int) -> np.ndarray:
    """The image over a line with the class."""
    from matplotlib.font_manager import findfont
    from PIL import Image, ImageDraw, ImageFont

    enlarged, _ = enlarge(image, Annotations(), size)
    height = max(24, enlarged.shape[0] // 14)
    canvas = np.full((enlarged.shape[0] + height, *enlarged.shape[1:]), 255, np.uint8)
    canvas[: -height or None] = enlarged
    picture = Image.fromarray(canvas)
    text = f"{prediction.name} {prediction.score:.2f}"
    font = ImageFont.truetype(findfont("DejaVu Sans"), int(0.7 * height))
    ImageDraw.Draw(picture).text((6, enlarged.shape[0] + 0.1 * height), text, (0, 0, 0), font)
    return np.asarray(picture)
