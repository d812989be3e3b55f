"""Stratified train/validation splits and cross-validation folds, stored as image lists."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smallvit.datasets.class_folders import choose_held_out
from smallvit.errors import DataError
from smallvit.utils.files import write_whole

#: Fraction of the images held out for validation, and the random seed.
HELD_OUT, SEED = 0.2, 0
#: Minimum number of images per class; smaller classes are pooled before sampling.
LEAST = 5


@dataclass(frozen=True)
class Fold:
    """Cross-validation fold.

    Args:
        number (int): Number of the fold, starting at 1.
        count (int): Total number of folds.
        seed (int): Random seed of the assignment of images to folds. Defaults to 0.
    """

    number: int
    count: int
    seed: int = SEED


def hold_out(labels: Mapping[str, Iterable], where: str, fold: Fold | None = None) -> set[str]:
    """Select validation images: a stratified fifth of the images, or one cross-validation fold.

    Without a fold, an image with several classes is assigned to the rarest of them.

    Args:
        labels (Mapping[str, Iterable]): Classes by image name.
        where (str): Data folder, for error messages.
        fold (Fold, optional): Cross-validation fold. Defaults to None: no cross-validation.

    Returns:
        set[str]: Names of the validation images.

    Raises:
        DataError: If there are too few images with labels.
    """
    if fold is not None:
        dealt = deal(labels, fold.count, fold.seed, where)
        return {name for name, number in dealt.items() if number == fold.number}
    if len(labels) < 2:
        raise DataError(
            f"{where} contains {len(labels)} image{'s'[: len(labels) != 1]} with labels, so none "
            "can be held out for validation. Add images, or create the folders train/ and val/"
        )
    frequency = Counter(one for found in labels.values() for one in set(found))
    groups: dict[object, list[str]] = {}
    for name, found in labels.items():
        rarest = min(set(found), key=lambda one: (frequency[one], str(one)), default=None)
        groups.setdefault(rarest, []).append(name)
    rest = [key for key, names in groups.items() if len(names) < LEAST and len(groups) > 1]
    together = [name for key in rest for name in groups.pop(key)]
    chosen: set[str] = set()
    for names in (*groups.values(), together):
        if len(names) > 1:
            chosen |= choose_held_out(names, HELD_OUT, SEED)
    return chosen


def deal(labels: Mapping[str, Iterable], count: int, seed: int, where: str) -> dict[str, int]:
    """Assign images to stratified folds.

    The classes are processed from the rarest to the most frequent. Each image is assigned to the
    fold with the fewest images of that class; ties are broken by the total number of images. The
    images are ordered by the SHA-256 of ``"{seed}/{name}"``, so that the folds do not depend on the
    machine.

    Args:
        labels (Mapping[str, Iterable]): Classes by image name; an image may have any number.
        count (int): Number of folds.
        seed (int): Random seed.
        where (str): Data folder, for error messages.

    Returns:
        dict[str, int]: Fold number by image name, starting at 1.

    Raises:
        DataError: If a class has fewer images than there are folds.
    """
    classes = {name: set(found) for name, found in labels.items()}
    _require_enough(classes, count, where)
    order = sorted(classes, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    images: dict[object, list[str]] = {}
    for name in order:
        for one in classes[name]:
            images.setdefault(one, []).append(name)
    left = Counter({one: len(names) for one, names in images.items()})
    have = {number: Counter() for number in range(1, count + 1)}
    sizes = Counter(dict.fromkeys(have, 0))
    dealt: dict[str, int] = {}

    def give(name: str, wanted: object = None) -> None:
        number = min(have, key=lambda fold: (have[fold][wanted], sizes[fold], fold))
        dealt[name] = number
        sizes[number] += 1
        have[number].update(classes[name])
        left.subtract(one for one in classes[name] if one in left)

    while left:
        rarest = min(left, key=lambda one: (left[one], str(one)))
        for name in images[rarest]:
            if name not in dealt:
                give(name, rarest)
        del left[rarest]
    for name in order:  # images without labels
        if name not in dealt:
            give(name)
    return dealt


def _require_enough(classes: Mapping[str, set], count: int, where: str) -> None:
    frequency = Counter(one for found in classes.values() for one in found)
    if not frequency:
        raise DataError(f"{where}: no image has a label, which the folds are stratified by")
    rarest, images = min(frequency.items(), key=lambda item: (item[1], str(item[0])))
    few = min(images, len(classes))
    if few >= count:
        return
    way = f"Set --folds {few}, or add images" if few > 1 else "Add images"
    raise DataError(
        f"{where}: class {rarest} has {images} image{'s'[: images != 1]}, but {count} folds "
        f"require one each. {way} of it"
    )


def write_lists(folder: str, splits: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Write the image lists of a generated split.

    Args:
        folder (str): Work folder; the lists are written to its subfolder ``split``.
        splits (Mapping[str, Sequence[str]]): Lines of each image list, by split.

    Returns:
        dict[str, str]: Absolute paths of the image lists, by split.
    """
    paths = {}
    for split, lines in splits.items():
        paths[split] = osp.join(osp.abspath(folder), "split", f"{split}.txt")
        os.makedirs(osp.dirname(paths[split]), exist_ok=True)
        write_whole(paths[split], "".join(f"{line}\n" for line in lines))
    return paths


def say_split(folder: str, fold: Fold | None = None) -> str:
    """Format a message about a generated split.

    Args:
        folder (str): Work folder that contains the image lists.
        fold (Fold, optional): Cross-validation fold. Defaults to None: no cross-validation.

    Returns:
        str: Message, a single line.
    """
    lists = osp.join(folder, "split")
    if fold is not None:
        return (
            f"validating on fold {fold.number} of {fold.count} (seed {fold.seed}), listed in "
            f"{lists}"
        )
    return (
        "no predefined split: a fixed fifth of each class is held out for validation, listed in "
        f"{lists}"
    )


def say_set_aside(images: int) -> str:
    """Format a message that the predefined validation images are not part of the folds.

    Args:
        images (int): Number of predefined validation images.

    Returns:
        str: Message, a single line.
    """
    return (
        f"the {images} images of val are not part of the folds, which consist of training images; "
        "use them to test the models (smallvit test)"
    )
