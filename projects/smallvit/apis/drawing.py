"""Draw predictions on images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smallvit.analysis import drawing
from smallvit.analysis.annotations import Annotations
from smallvit.analysis.drawing import Style, as_rgb, enlarge
from smallvit.analysis.pictures import predicted_annotations
from smallvit.apis.structures import ClassPrediction, InstancePrediction, Prediction

#: Images with a smaller shorter side are enlarged to this size, so that text is legible.
SHORTER_SIDE = 384


def draw(
    image: np.ndarray, prediction: Prediction, palette: Sequence | None = None, name: str = ""
) -> np.ndarray:
    """Draw a prediction on its image.

    Args:
        image (np.ndarray): (H, W, 3) in BGR order, or (H, W).
        prediction (Prediction): Output of a predictor for the image.
        palette (Sequence, optional): RGB color of each class. Defaults to None: the built-in
            palette.
        name (str): Name of the image, for errors. Defaults to "".

    Returns:
        np.ndarray: Image with the prediction, in RGB order.
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
    """Draw the image with a line of text below that gives the class."""
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
