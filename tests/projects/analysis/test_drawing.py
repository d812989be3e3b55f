"""Drawing of annotations, and matching of predicted objects with the ground truth."""

import numpy as np
import pytest

from smallvit.analysis.annotations import Annotations
from smallvit.analysis.drawing import Style, as_rgb, distinct_colors, draw, enlarge
from smallvit.analysis.matching import match, overlaps, same_class

STYLE = Style(["cat", "dog"], [(255, 0, 0), (0, 0, 255)])


def gray(height=40, width=60):
    return np.full((height, width, 3), 100, np.uint8)


def objects(**changes):
    masks = np.zeros((1, 40, 60), bool)
    masks[0, 10:20, 10:30] = True
    values = dict(labels=[1], boxes=np.array([[10.0, 10, 30, 20]]), masks=masks, scores=[0.25])
    return Annotations(**{**values, **changes})


def test_masks_have_the_color_of_their_class():
    drawn = draw(gray(), objects(boxes=None), STYLE)
    assert drawn[15, 15].tolist() == [50, 50, 177]
    assert drawn[30, 30].tolist() == [100, 100, 100]


@pytest.mark.parametrize("place", [[0, 0, 5, 5], [55, 35, 60, 40], [-9, -9, 99, 99]])
def test_names_stay_within_the_image(place):
    style = Style(["a class of a name that is much wider than the image"], [(0, 255, 0)])
    drawn = draw(gray(), Annotations(labels=[0], boxes=np.array([place], float)), style)
    without = draw(gray(), Annotations(labels=[0], boxes=np.array([place], float)), hidden(style))
    written = np.argwhere((drawn != without).any(-1))
    assert len(written) > 20
    assert drawn.shape == (40, 60, 3)


def hidden(style):
    return Style(style.classes, style.palette, names=False, scores=False)


def test_boxes_names_and_scores_can_be_left_out():
    nothing = Style(STYLE.classes, STYLE.palette, boxes=False, names=False, scores=False)
    plain = objects(masks=None)
    assert np.array_equal(draw(gray(), plain, nothing), gray())
    pictures = [
        draw(gray(), plain, Style(STYLE.classes, STYLE.palette, **{key: False})).tobytes()
        for key in ("boxes", "names", "scores")
    ]
    assert len(set(pictures)) == 3


def test_pixels_without_class_are_not_changed():
    labels = np.full((40, 60), 255)
    labels[:10] = 0
    drawn = draw(gray(), Annotations(label_map=labels), STYLE)
    assert drawn[0, 0].tolist() == [177, 50, 50]
    assert np.array_equal(drawn[10:], gray()[10:])


def test_images_are_enlarged_with_their_annotations():
    image, known = enlarge(gray(), objects(), 80)
    assert image.shape == (80, 120, 3)
    assert known.boxes.tolist() == [[20, 20, 60, 40]]
    assert known.masks.shape == (1, 80, 120)
    assert known.masks.sum() == 4 * 200
    _, known = enlarge(
        gray(), objects(labels=[], boxes=np.zeros((0, 4)), masks=gray()[:0, :, 0]), 80
    )
    assert known.masks.shape[0] == 0


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4), (4, 5, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_stored_image_can_be_shown(shape, dtype):
    shown = as_rgb(np.ones(shape, dtype))
    assert shown.shape == (4, 5, 3)
    assert shown.dtype == np.uint8


@pytest.mark.parametrize("count", [1, 10, 20, 300])
def test_colors_differ(count):
    assert len(set(distinct_colors(count))) == count


def test_a_palette_of_other_classes_is_not_used():
    assert Style(["a", "b"], [(1, 2, 3)]).color(0) != (1, 2, 3)
    assert Style(["a"], [(1, 2, 3)]).color(5) == (128, 128, 128)
    assert Style(["a"]).name(7) == "7"


def test_objects_are_matched_once_by_the_surest():
    truth = Annotations(labels=[0, 1], boxes=np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]))
    found = Annotations(
        labels=[0, 0, 0],
        boxes=np.array([[0.0, 0, 9, 10], [0, 0, 10, 10], [20, 20, 30, 30]]),
        scores=[0.9, 0.5, 0.8],
    )
    iou = overlaps(found, truth)
    assert iou[0, 0] == pytest.approx(0.9)
    matches = match(iou, np.array(found.scores), same_class(found, truth), 0.5)
    assert matches.truth_of == [0, None, None]
    assert matches.missed == [1]
    nothing = Annotations(labels=[], boxes=np.zeros((0, 4)), scores=[])
    assert match(
        overlaps(nothing, truth), np.array([]), same_class(nothing, truth), 0.5
    ).missed == [0, 1]
    assert (
        match(
            overlaps(found, nothing), np.array(found.scores), same_class(found, nothing), 0.5
        ).truth_of
        == [None] * 3
    )
