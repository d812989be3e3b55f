"""Feature analysis: nearest neighbors, k-NN classification and t-SNE maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from smallvit.analysis.figures import new_figure
from smallvit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Number of images per block of the similarity matrix.
CHUNK = 1024
#: Default perplexity of t-SNE, and maximum number of classes in a legend.
PERPLEXITY, LEGEND = 30.0, 20
#: Cosine similarity above which two images count as duplicates.
TWIN = 1 - 1e-6


@dataclass(frozen=True)
class Neighbors:
    """Nearest neighbors of images.

    Args:
        indices (np.ndarray): Indices of the neighbors, nearest first, (N, k).
        similarities (np.ndarray): Cosine similarities of the neighbors, (N, k).
    """

    indices: np.ndarray
    similarities: np.ndarray

    @property
    def twins(self) -> int:
        """int: Number of images whose nearest neighbor has identical features."""
        return int((self.similarities[:, 0] > TWIN).sum())


def unit(features: np.ndarray) -> np.ndarray:
    """Normalize vectors to length 1; zero vectors are unchanged.

    Args:
        features (np.ndarray): Vectors (N, C).

    Returns:
        np.ndarray: Normalized vectors (N, C), float32.
    """
    features = np.asarray(features, dtype=np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def require_enough(count: int, among: int) -> None:
    """Check that there are enough images for the requested number of neighbors.

    Args:
        count (int): Requested number of neighbors.
        among (int): Number of candidate images.

    Raises:
        UserError: If there are fewer candidates than neighbors.
    """
    if count > among:
        way = f"Set --neighbors {among} or less, or add images" if among > 0 else "Add images"
        raise UserError(
            f"expected at least {count} images for {count} neighbors, got {among}. {way}"
        )


def nearest(features: np.ndarray, count: int, reference: np.ndarray | None = None) -> Neighbors:
    """Find the nearest neighbors by cosine similarity.

    Args:
        features (np.ndarray): Features of the images, (N, C).
        count (int): Number of neighbors.
        reference (np.ndarray, optional): Features of the candidates, (M, C). Defaults to None: the
            other images in ``features``.

    Returns:
        Neighbors: Nearest neighbors of each image.

    Raises:
        UserError: If there are fewer candidates than neighbors.
    """
    require_enough(count, len(features) - 1 if reference is None else len(reference))
    queries = unit(features)
    keys = queries if reference is None else unit(reference)
    indices = np.empty((len(queries), count), dtype=np.int64)
    similarities = np.empty((len(queries), count), dtype=np.float32)
    for start in range(0, len(queries), CHUNK):
        part = slice(start, min(start + CHUNK, len(queries)))
        found = queries[part] @ keys.T
        if reference is None:
            rows = np.arange(part.stop - start)
            found[rows, rows + start] = -np.inf  # an image is not its own neighbor
        order = np.argsort(-found, axis=1, kind="stable")[:, :count]
        indices[part] = order
        similarities[part] = np.take_along_axis(found, order, axis=1)
    return Neighbors(indices, similarities)


def vote(neighbors: Neighbors, labels: np.ndarray) -> np.ndarray:
    """Predict the class of images by a majority vote of their neighbors.

    Args:
        neighbors (Neighbors): Nearest neighbors of each image.
        labels (np.ndarray): Class indices of the candidates, (M, ).

    Returns:
        np.ndarray: Predicted class indices (N, ); ties go to the class with nearer neighbors.
    """
    said = np.asarray(labels)[neighbors.indices]
    votes = np.zeros((len(said), int(np.max(labels)) + 1))
    rows = np.arange(len(said))
    for column in range(said.shape[1]):
        # The number of votes dominates; the similarity only breaks ties.
        votes[rows, said[:, column]] += 1 + 1e-4 * neighbors.similarities[:, column]
    return votes.argmax(axis=1)


def fitting_perplexity(images: int, asked: float | None) -> float:
    """Choose the perplexity of t-SNE, or check the requested one.

    Args:
        images (int): Number of images.
        asked (float, optional): Requested perplexity. None for 30, or a third of the number of
            images if that is smaller.

    Returns:
        float: Valid perplexity for the number of images.

    Raises:
        UserError: If there are too few images.
    """
    if images < 4:
        raise UserError(f"t-SNE requires at least four images, got {images}")
    if asked is not None and asked >= images:
        raise UserError(
            f"expected --perplexity below the number of images ({images}), got {asked:g}"
        )
    return asked if asked is not None else min(PERPLEXITY, (images - 1) / 3)


def embed(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Embed features in two dimensions with t-SNE, by cosine distance.

    Args:
        features (np.ndarray): Features (N, C).
        perplexity (float): Approximate number of effective neighbors.
        seed (int): Seed of the initialization.

    Returns:
        np.ndarray: Coordinates (N, 2).
    """
    from sklearn.manifold import TSNE

    vectors = unit(features)
    start = "pca" if vectors.shape[1] > 1 and np.ptp(vectors, axis=0).any() else "random"
    made = TSNE(perplexity=perplexity, init=start, learning_rate="auto", random_state=seed)
    return made.fit_transform(vectors)


def draw_map(
    points: np.ndarray,
    labels: np.ndarray | None,
    classes: Sequence[str],
    title: str,
    wrong: np.ndarray | None = None,
) -> Figure:
    """Draw a 2D map of images with one color per class.

    Args:
        points (np.ndarray): Coordinates (N, 2).
        labels (np.ndarray, optional): Class indices of the images, (N, ); None if unknown.
        classes (Sequence[str]): Class names.
        title (str): Title of the figure.
        wrong (np.ndarray, optional): Whether k-NN predicts another class, (N, ); these images are
            circled. Defaults to None: no circles.

    Returns:
        Figure: Map, with a legend of at most 20 classes.
    """
    from matplotlib import colormaps

    figure = new_figure(8.5, 6.5)
    axis = figure.subplots()
    size = float(np.clip(6000 / len(points), 6, 40))
    if labels is None:
        axis.scatter(*points.T, s=size, color="C0", linewidths=0)
    else:
        colors = colormaps["tab10" if len(classes) <= 10 else "tab20"]
        for label in np.unique(labels):
            chosen = labels == label
            name = f"{classes[label]} ({chosen.sum()})"
            color = colors(int(label) % colors.N)
            axis.scatter(*points[chosen].T, s=size, color=color, label=name, linewidths=0)
    if wrong is not None and wrong.any():
        ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.7}
        axis.scatter(*points[wrong].T, s=2.2 * size, label=f"wrong by kNN ({wrong.sum()})", **ring)
    if labels is not None and len(classes) <= LEGEND:
        figure.legend(loc="outside right upper", fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=10)
    return figure


def choose_queries(right: np.ndarray | None, images: int, count: int, seed: int) -> list[int]:
    """Select images to show with their neighbors: half of them errors, if there are enough.

    Args:
        right (np.ndarray, optional): Whether the neighbors have the class of the image, (N, ).
        images (int): Number of images.
        count (int): Number of images to select.
        seed (int): Seed of the selection.

    Returns:
        list[int]: Indices of the images, errors first.
    """
    order = np.random.RandomState(seed).permutation(images)
    if right is None:
        return order[:count].tolist()
    wrong = [int(number) for number in order if not right[number]]
    others = [int(number) for number in order if right[number]]
    share = max(count - len(others), (count + 1) // 2)
    wrong = wrong[:share]
    return [*wrong, *others[: count - len(wrong)]]
