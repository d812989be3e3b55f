"""Large images in parts that overlap, and what was found in the parts put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smallvit.errors import UserError

#: Boxes of two parts that share so much are one object: of both together, of the smaller one.
UNION, SMALLER = 0.5, 0.6
#: A box that ends so near to where its part was cut may go on beyond.
EDGE = 2.0


@dataclass(frozen=True)
class Tile:
    """A part of an image.

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
        """Cut the part out of an image (H, W, ...)."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def tile_rows(shape: tuple[int, int], size: int, overlap: float) -> list[list[Tile]]:
    """Divide an image into tiles that cover it, the last ones moved inside.

    Args:
        shape (tuple[int, int]): Height and width.
        size (int): Side of a tile.
        overlap (float): Part of a tile that its neighbor has too, 0 to 0.9.

    Returns:
        list[list[Tile]]: Rows of tiles.

    Raises:
        UserError: If the size or overlap makes no sense.
    """
    if size < 1 or not 0 <= overlap <= 0.9:
        raise UserError(
            f"tiles of {size} pixels with an overlap of {overlap}: 0 to 0.9 is possible"
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
    """Choose one box for each object that several tiles found, by non-maximum suppression.

    Whole boxes come before those that a tile cut, and these by their scores. A box that lies
    inside another of its class from another tile is a part of it.

    Args:
        boxes (np.ndarray): In the coordinates of the image, (N, 4).
        scores (np.ndarray): (N, ).
        labels (np.ndarray): (N, ).
        origins (Sequence[Tile]): Of each box its tile.
        shape (tuple): Height and width of the image.

    Returns:
        np.ndarray: Numbers of the boxes to keep, highest score first.
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
    """Whether a box ends at an edge of its tile that is none of the image."""
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
    """The label map of an image from probabilities of tiles, averaged where they overlap.

    Only the rows of one row of tiles are kept in memory.

    Args:
        shape (tuple[int, int]): Height and width.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels = np.zeros(shape, dtype=np.int32)
        self._sums = np.zeros((0, 0, shape[1]), dtype=np.float32)
        self._top = 0

    def begin_row(self, tiles: Sequence[Tile], classes: int) -> None:
        """Finish the rows above a row of tiles, which no later tile reaches.

        Args:
            tiles (Sequence[Tile]): The row.
            classes (int): Channels of the probabilities.
        """
        top, bottom = tiles[0].top, tiles[0].bottom
        sums = np.zeros((classes, bottom - top, self.labels.shape[1]), dtype=np.float32)
        if self._sums.size:
            self._write(self._sums[:, : top - self._top])
            common = self._sums[:, top - self._top :]
            sums[:, : common.shape[1]] = common
        self._sums, self._top = sums, top

    def add(self, tile: Tile, probabilities: np.ndarray) -> None:
        """Add a tile of the row.

        Args:
            tile (Tile): Where it is.
            probabilities (np.ndarray): (C, H, W). A pixel's largest sum is its largest mean, as
                all its classes have as many tiles.
        """
        self._sums[:, :, tile.left : tile.right] += probabilities

    def finish(self) -> np.ndarray:
        """Finish the last rows.

        Returns:
            np.ndarray: The labels, (H, W).
        """
        self._write(self._sums)
        return self.labels

    def _write(self, sums: np.ndarray) -> None:
        if sums.shape[1]:
            end = self._top + sums.shape[1]
            found = sums.argmax(axis=0) if len(sums) > 1 else sums[0] > 0
            self.labels[self._top : end] = found
