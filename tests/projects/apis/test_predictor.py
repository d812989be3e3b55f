"""``Predictor`` for the three tasks, created from a checkpoint alone."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from smallvit.apis import Predictor
from smallvit.apis.drawing import draw
from smallvit.apis.tiles import MapOfTiles, Tile, keep_of_tiles, tile_rows
from smallvit.errors import ImageError, SmallvitError, UserError


def pictures(count, shape=(64, 96), seed=0):
    draws = np.random.default_rng(seed)
    small = [draws.integers(0, 255, (8, 12, 3), dtype=np.uint8) for _ in range(count)]
    return [cv2.resize(each, shape[::-1], interpolation=cv2.INTER_CUBIC) for each in small]


def test_classes(checkpoints, tmp_path):
    predictor = Predictor(checkpoints["classification"], device="cpu", batch_size=2)
    first, *others = images = pictures(3)
    assert predictor.task == "classification"
    path = str(tmp_path / "one.png")
    cv2.imwrite(path, first)
    of_path, of_pillow, of_array = predictor([path, Image.fromarray(first[:, :, ::-1]), first])
    assert np.allclose(of_path.scores, of_array.scores, atol=1e-6)
    assert np.allclose(of_pillow.scores, of_array.scores, atol=1e-6)
    assert of_array.name == predictor.classes[of_array.label]
    # The same by hand: the pipeline resizes, the model predicts.
    model = predictor.model
    inputs = torch.from_numpy(
        cv2.resize(first, (32, 32), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    )
    scores = model(model.data_preprocessor({"inputs": inputs[None]})["inputs"]).softmax(1)[0]
    assert np.allclose(of_array.scores, scores.detach().numpy(), atol=1e-6)
    # Other images in the batch do not affect the result.
    together = predictor([*images, *pictures(2, (40, 40), seed=5)])
    assert [each.label for each in together[:3]] == [predictor(each).label for each in images]
    assert next(predictor.stream(iter(others))).shape == (64, 96)
    assert predictor([]) == []


@pytest.mark.parametrize("library", ["inferencer", "ours"])
def test_objects(checkpoints, library):
    predictor = Predictor(checkpoints["detection"], device="cpu", score_thr=0.0)
    image = pictures(1, (96, 96))[0]
    found = predictor(image)
    assert found.masks is not None
    assert len(found) == len(found.boxes) == len(found.masks) > 0
    if library == "inferencer":
        from mmdet.apis import inference_detector

        other = inference_detector(predictor.model, image).pred_instances
        assert np.allclose(found.scores, other.scores.numpy(), atol=1e-6)
        assert np.allclose(found.boxes, other.bboxes.numpy(), atol=1e-3)
        return
    assert found.mask(0).shape == found.shape == (96, 96)
    assert (np.diff(found.scores) <= 0).all()
    strict = Predictor(checkpoints["detection"], device="cpu", score_thr=1.0)(image)
    assert len(strict) == 0
    assert draw(image, strict).shape[2] == 3
    assert draw(image, found).shape[0] >= 384


def test_label_maps(checkpoints, recwarn):
    from mmseg.apis import inference_model

    predictor = Predictor(checkpoints["segmentation"], device="cpu")
    assert not [one for one in recwarn if "would be deprecated" in str(one.message)]
    image = pictures(1)[0]
    found = predictor(image)
    assert found.labels.shape == (64, 96)
    other = inference_model(predictor.model, image).pred_sem_seg.data[0].numpy()
    assert np.array_equal(found.labels, other)
    rows = list(found.rows())
    assert sum(pixels for _, pixels, _ in rows) == 64 * 96
    assert draw(image, found, predictor.palette).shape[2] == 3
    # A tile of the image's size gives the same result as the image.
    tiled = Predictor(checkpoints["segmentation"], device="cpu", tile=96)
    assert np.array_equal(tiled(image).labels, found.labels)
    tiled = Predictor(checkpoints["segmentation"], device="cpu", tile=48)
    assert tiled(image).labels.shape == (64, 96)


def test_objects_in_tiles(checkpoints):
    image = pictures(1, (64, 64))[0]
    whole = Predictor(checkpoints["detection"], device="cpu", score_thr=0.0)(image)
    # Four copies of the image without overlap: each object is found four times.
    wide = np.tile(image, (2, 2, 1))
    settings = dict(device="cpu", score_thr=0.0, tile=64, overlap=0.0)
    found = Predictor(checkpoints["detection"], **settings)(wide)
    assert found.shape == (128, 128)
    assert found.scores[0] == pytest.approx(whole.scores[0], abs=1e-6)
    assert np.isclose(found.scores, whole.scores[0], atol=1e-6).sum() >= 4
    assert found.mask(0).shape == (128, 128)
    inside = found.mask(0).any(axis=1).nonzero()[0] // 64
    assert len(set(inside.tolist())) <= 1


def test_exits(checkpoints):
    image = pictures(1)[0]
    path = checkpoints["cascade"]
    assert Predictor(path, device="cpu")(image).exit_index == 2
    assert Predictor(path, device="cpu", exits=dict(exit_index=1))(image).exit_index == 1
    cheap = Predictor(path, device="cpu", exits=dict(max_gflops=1.6e6))
    assert cheap(image).exit_index == 0
    for exits in (dict(max_gflops=1e-9), dict(exit_index=7), dict(color="red")):
        with pytest.raises(SmallvitError):
            Predictor(path, device="cpu", exits=exits)
    with pytest.raises(UserError, match="requires a model with exits"):
        Predictor(checkpoints["classification"], device="cpu", exits=dict(exit_index=0))


def test_mistakes(checkpoints, tmp_path):
    with pytest.raises(UserError, match="not for classifiers"):
        Predictor(checkpoints["classification"], device="cpu", tile=64)
    with pytest.raises(UserError, match="overlap"):
        Predictor(checkpoints["segmentation"], device="cpu", tile=64, overlap=1.5)
    predictor = Predictor(checkpoints["classification"], device="cpu")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        predictor(tmp_path / "text.jpg")
    with pytest.raises(UserError, match="No such file"):
        predictor(tmp_path / "missing.jpg")
    with pytest.raises(UserError, match="expected a path, an array"):
        predictor([3])


def test_tiles_cover_an_image():
    rows = tile_rows((100, 250), 64, 0.25)
    covered = np.zeros((100, 250), bool)
    for tile in (tile for row in rows for tile in row):
        assert tile.bottom - tile.top == tile.right - tile.left == 64
        covered[tile.top : tile.bottom, tile.left : tile.right] = True
    assert covered.all()
    assert tile_rows((50, 50), 64, 0.25) == [[Tile(0, 0, 50, 50)]]


def test_maps_of_tiles_are_averaged():
    shape, draws = (100, 130), np.random.default_rng(0)
    sums, counts, whole = np.zeros((3, *shape)), np.zeros(shape), MapOfTiles(shape)
    for row in tile_rows(shape, 48, 0.4):
        whole.begin_row(row, 3)
        for tile in row:
            part = draws.random((3, tile.bottom - tile.top, tile.right - tile.left), np.float32)
            whole.add(tile, part)
            sums[:, tile.top : tile.bottom, tile.left : tile.right] += part
            counts[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert counts.max() > 2
    assert np.array_equal(whole.finish(), (sums / counts).argmax(axis=0))


def test_objects_on_a_tile_border_are_merged():
    left, right, shape = Tile(0, 0, 60, 60), Tile(0, 40, 60, 100), (60, 100)
    boxes = np.array(
        [
            [45, 10, 60, 20],  # left half of the next box, cut at 60, with a higher score
            [45, 10, 75, 20],
            [10, 10, 20, 20],
            [11, 10, 21, 20],  # from the same tile, where the model's own NMS kept both
            [45, 40, 58, 50],  # a different class at the same place
        ],
        dtype=np.float64,
    )
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    labels = np.array([0, 0, 0, 0, 1])
    keep = keep_of_tiles(boxes, scores, labels, [left, right, left, left, right], shape)
    assert keep.tolist() == [1, 2, 3, 4]
