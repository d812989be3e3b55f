"""Classification dataset of the handwritten digits in scikit-learn."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from mmpretrain.datasets import BaseDataset

from smallvit.registry import DATASETS

CLASSES = tuple(str(digit) for digit in range(10))
SPLITS = ("train", "val", "trainval", "test")

# Number of test images per class; the other 119 to 128 are training images. With 360 test
# images, one error is 0.28 percentage points.
_TEST_PER_CLASS = 36
_VAL_PER_CLASS = 19


def load_digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Load the digits from the installed scikit-learn package, without a download.

    Returns:
        tuple[np.ndarray, np.ndarray]: Images, uint8, of shape (1797, 8, 8), from 0 (paper) to 255
        (ink), and labels of shape (1797, ).

    Raises:
        ModuleNotFoundError: If scikit-learn is not installed.
    """
    images, labels = _read()
    return images.copy(), labels.copy()


@cache
def _read() -> tuple[np.ndarray, np.ndarray]:
    installed = find_spec("sklearn")
    if installed is None or installed.origin is None:
        raise ModuleNotFoundError(
            "the digits require scikit-learn, which is not installed: pip install scikit-learn",
            name="sklearn",
        )
    # Importing scikit-learn can take longer than training on its digits, so read the file directly.
    path = Path(installed.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        table = np.loadtxt(path, delimiter=",")
        pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels, labels = digits.images, digits.target
    # Pixel values count the ink pixels in a 4x4 block of the scan, from 0 to 16.
    return np.rint(pixels * (255 / 16)).astype(np.uint8), labels.astype(np.int64)


def digit_indices(
    labels: np.ndarray, split: str, samples_per_class: int | None = None
) -> np.ndarray:
    """Select the images of a split.

    The split is stratified and depends only on the labels. ``samples_per_class`` selects the first
    images of each class in a fixed order, so smaller subsets are contained in larger ones.

    Args:
        labels (np.ndarray): Labels of all images, of shape (N, ).
        split (str): ``train``, ``val``, ``trainval`` (both combined) or ``test``.
        samples_per_class (int, optional): Number of images to select per class. Defaults to
            None, which selects all.

    Returns:
        np.ndarray: Sorted image indices.

    Raises:
        ValueError: If the split is unknown, or a class has fewer than
            ``samples_per_class`` images in the split.
    """
    if split not in SPLITS:
        raise ValueError(f"Digits has no split {split!r}. Choose one of {', '.join(SPLITS)}")
    # NumPy guarantees reproducible streams for RandomState, but not for Generator.
    shuffled = np.random.RandomState(0).permutation(len(labels))
    chosen = [
        _split_class(shuffled[labels[shuffled] == label], split) for label in range(len(CLASSES))
    ]
    if samples_per_class is not None:
        available = min(len(indices) for indices in chosen)
        if not 1 <= samples_per_class <= available:
            raise ValueError(
                f"expected samples_per_class from 1 to {available} for split {split!r} of Digits, "
                f"or None for all, got {samples_per_class}"
            )
        chosen = [indices[:samples_per_class] for indices in chosen]
    return np.sort(np.concatenate(chosen))


def _split_class(indices: np.ndarray, split: str) -> np.ndarray:
    # `train` comes first in `trainval`, so that `samples_per_class` selects the same images.
    test_start = len(indices) - _TEST_PER_CLASS
    val_start = test_start - _VAL_PER_CLASS
    bounds = {
        "train": (0, val_start),
        "val": (val_start, test_start),
        "trainval": (0, test_start),
        "test": (test_start, len(indices)),
    }
    return indices[slice(*bounds[split])]


@DATASETS.register_module()
class Digits(BaseDataset):
    """Dataset of the 1,797 handwritten digits of `Alpaydin and Kaynak
    <https://archive.ics.uci.edu/dataset/80>`_ included in scikit-learn, 8x8 pixels.

    The images are part of the package, so no ``data_root`` is needed. They are returned as
    uint8 arrays of shape (8, 8, 3) with three equal channels, like a grayscale image file loaded
    by default. ``img_path`` is not a file path: it identifies the image by its index in
    :func:`sklearn.datasets.load_digits`.

    Args:
        split (str): ``train`` (1247 images), ``val`` (190), ``trainval`` (both
            combined) or ``test`` (360). Defaults to ``'train'``.
        samples_per_class (int, optional): Number of images per class. Subsets are deterministic
            and nested. Defaults to None, which uses all images.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If the split is unknown or ``samples_per_class`` is out of range.
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self,
        split: str = "train",
        samples_per_class: int | None = None,
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        self.split = split
        self.samples_per_class = samples_per_class
        super().__init__(
            ann_file="", metainfo=metainfo, pipeline=pipeline, test_mode=test_mode, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Load the images and labels of the split.

        Returns:
            list[dict]: ``img``, ``img_path`` and ``gt_label`` of each sample.
        """
        images, labels = load_digit_images()
        return [
            {
                "img": np.repeat(images[index][..., None], 3, axis=-1),
                "img_path": f"sklearn-digits/{index:04d}.png",
                "gt_label": int(labels[index]),
            }
            for index in digit_indices(labels, self.split, self.samples_per_class)
        ]

    def extra_repr(self) -> list[str]:
        """Describe the split.

        Returns:
            list[str]: Lines to include in ``repr``.
        """
        kept = "all" if self.samples_per_class is None else self.samples_per_class
        return [f"Split: \t{self.split}", f"Samples per class: \t{kept}"]
