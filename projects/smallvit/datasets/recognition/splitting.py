"""A split of one's own data where there is none: by classes, by a seed, stored as a list."""

from __future__ import annotations

import os
import os.path as osp
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from smallvit.datasets.class_folders import choose_held_out
from smallvit.errors import DataError
from smallvit.utils.files import write_whole

#: The part of the images that validates, and the seed of the choice.
HELD_OUT, SEED = 0.2, 0
#: Images of a class below which it shares its draw with others.
LEAST = 5


def hold_out(labels: Mapping[str, Iterable], where: str) -> set[str]:
    """Choose the images that validate: a fifth of those of each class.

    An image with several classes counts for the rarest of them.

    Args:
        labels (Mapping[str, Iterable]): Classes of each image, by its name.
        where (str): The data folder, for the message.

    Returns:
        set[str]: Names of the images.

    Raises:
        DataError: If there are too few images.
    """
    if len(labels) < 2:
        raise DataError(
            f"{where} holds {len(labels)} image{'s'[: len(labels) != 1]} with labels, of which no "
            "part can be held out for validation: add images, or folders train/ and val/"
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


def write_lists(folder: str, splits: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Store a split as lists.

    Args:
        folder (str): The work folder.
        splits (Mapping[str, Sequence[str]]): Lines of each list.

    Returns:
        dict[str, str]: Absolute path of the list of each split.
    """
    paths = {}
    for split, lines in splits.items():
        paths[split] = osp.join(osp.abspath(folder), "split", f"{split}.txt")
        os.makedirs(osp.dirname(paths[split]), exist_ok=True)
        write_whole(paths[split], "".join(f"{line}\n" for line in lines))
    return paths


def say_split(folder: str) -> str:
    """Tell of a split of our own.

    Args:
        folder (str): The work folder.

    Returns:
        str: One line.
    """
    return (
        f"no split is there: a fixed fifth of each class validates, listed in "
        f"{osp.join(folder, 'split')}"
    )
