"""Tiled inference on large images: overlapping tiles and merging of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smallvit.errors import UserError

#: Boxes of two tiles are merged above this IoU, or this overlap relative to the smaller box.
UNION, SMALLER = 0.5, 0.6
#: A box that ends within this many pixels of an inner tile edge may be truncated.
EDGE = 2.0


@dataclass(frozen=True)
class Tile:
    """Rectangular region of an image.

    Args:
        top (int): First row.
        left (int): First column.
        bottom (int): Row after the last.
        right (int): Column after the last.
    """

    top: int
    left: int
    bottom: int
    right: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Crop the tile from an image (H, W, ...)."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def tile_rows(shape: tuple[int, int], size: int, overlap: float) -> list[list[Tile]]:
    """Split an image into tiles that cover it; the last ones are shifted to lie inside.

    Args:
        shape (tuple[int, int]): Height and width of the image.
        size (int): Side of a tile.
        overlap (float): Overlap of neighboring tiles as a fraction of a tile, 0 to 0.9.

    Returns:
        list[list[Tile]]: Rows of tiles.

    Raises:
        UserError: If ``size`` or ``overlap`` is out of range.
    """
    if size < 1 or not 0 <= overlap <= 0.9:
        raise UserError(
            f"expected an overlap from 0 to 0.9 for tiles of {size} pixels, got {overlap}"
        )
    tops, lefts = (_starts(side, size, overlap) for side in shape)
    height, width = shape
    return [
        [Tile(top, left, min(top + size, height), min(left + size, width)) for left in lefts]
        for top in tops
    ]


def _starts(side: int, size: int, overlap: float) -> list[int]:
    if side <= size:
        return [0]
    step = max(1, round(size * (1 - overlap)))
    return [*range(0, side - size, step), side - size]


def keep_of_tiles(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, origins: Sequence[Tile], shape: tuple
) -> np.ndarray:
    """Merge the boxes of several tiles by class-wise non-maximum suppression.

    Complete boxes take precedence over boxes truncated by a tile, then higher scores over lower
    ones. A box that lies mostly inside another one of its class from another tile is suppressed.

    Args:
        boxes (np.ndarray): Boxes in image coordinates, (N, 4).
        scores (np.ndarray): (N, ).
        labels (np.ndarray): (N, ).
        origins (Sequence[Tile]): Tile of each box.
        shape (tuple): Height and width of the image.

    Returns:
        np.ndarray: Indices of the boxes to keep, by descending score.
    """
    places = np.array([(t.left, t.top, t.right, t.bottom) for t in origins]).reshape(-1, 4)
    cut = _is_cut(boxes, places, shape)
    order = np.lexsort((-scores, cut))
    left = np.ones(len(boxes), dtype=bool)
    kept = []
    for number in order:
        if not left[number]:
            continue
        kept.append(number)
        other = (places != places[number]).any(axis=1) & (labels == labels[number]) & left
        union, smaller = _shares(boxes[number], boxes)
        left &= ~(other & ((union > UNION) | (smaller > SMALLER)))
        left[number] = False
    found = np.array(kept, dtype=np.int64)
    return found[np.argsort(-scores[found], kind="stable")]


def _is_cut(boxes: np.ndarray, places: np.ndarray, shape: tuple) -> np.ndarray:
    """Check which boxes end at an edge of their tile that is not an edge of the image."""
    inner = places != np.array([0, 0, shape[1], shape[0]])
    return ((np.abs(boxes - places) < EDGE) & inner).any(axis=1)


def _shares(box: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = corner.clip(0).prod(axis=1)
    own = (box[2:] - box[:2]).clip(0).prod()
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)
    union = common / np.maximum(own + areas - common, 1e-6)
    return union, common / np.maximum(np.minimum(own, areas), 1e-6)


class MapOfTiles:
    """Label map of an image from the probabilities of tiles, averaged where tiles overlap.

    Only the probabilities of one row of tiles are kept in memory.

    Args:
        shape (tuple[int, int]): Height and width of the image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels = np.zeros(shape, dtype=np.int32)
        self._sums = np.zeros((0, 0, shape[1]), dtype=np.float32)
        self._top = 0

    def begin_row(self, tiles: Sequence[Tile], classes: int) -> None:
        """Start a row of tiles, and finish the pixels above it.

        Args:
            tiles (Sequence[Tile]): Tiles of the row.
            classes (int): Number of channels of the probabilities.
        """
        top, bottom = tiles[0].top, tiles[0].bottom
        sums = np.zeros((classes, bottom - top, self.labels.shape[1]), dtype=np.float32)
        if self._sums.size:
            self._write(self._sums[:, : top - self._top])
            common = self._sums[:, top - self._top :]
            sums[:, : common.shape[1]] = common
        self._sums, self._top = sums, top

    def add(self, tile: Tile, probabilities: np.ndarray) -> None:
        """Add a tile of the current row.

        Args:
            tile (Tile): Position of the tile.
            probabilities (np.ndarray): (C, H, W). They are summed, which has the same argmax as
                the mean, since all classes of a pixel are covered by the same tiles.
        """
        self._sums[:, :, tile.left : tile.right] += probabilities

    def finish(self) -> np.ndarray:
        """Finish the last row of tiles.

        Returns:
            np.ndarray: Label map, (H, W).
        """
        self._write(self._sums)
        return self.labels

    def _write(self, sums: np.ndarray) -> None:
        if sums.shape[1]:
            end = self._top + sums.shape[1]
            found = sums.argmax(axis=0) if len(sums) > 1 else sums[0] > 0
            self.labels[self._top : end] = found
