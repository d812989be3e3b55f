"""Recognition of semantic segmentation datasets with label maps."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from smallvit.datasets.formats.folders import SPLIT_NAMES, images_below, iter_texts
from smallvit.datasets.label_map_folder import pair_maps
from smallvit.datasets.label_maps import IGNORED, decode_map, one_channel
from smallvit.datasets.recognition.own_data import SPLITS, OwnData
from smallvit.datasets.recognition.splitting import (
    Fold,
    hold_out,
    say_set_aside,
    say_split,
    write_lists,
)
from smallvit.errors import DataError, ImageError
from smallvit.utils.text import join_names

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "leftImg8bit", "rgb")
MAP_FOLDERS = (
    *("annotations", "annotation", "masks", "mask", "labels", "label", "SegmentationClass"),
    *("gt", "gtFine", "ground_truth", "segmentation", "seg"),
)
SUFFIXES = ("", "_mask", "_label", "_labels", "_seg", "_gt", "_labelIds", "_gtFine_labelIds", "_L")
#: Class name files, with one name per line in the order of the class indices.
NAMES = ("classes.txt", "class_names.txt", "labels.txt", "label_names.txt", "names.txt")
VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown", "none", "no class")
#: Approximate number of label maps per split that are sampled to collect the pixel values.
LOOKED_AT = 2000
#: Maximum number of distinct pixel values; files with more are not label maps.
MOST_VALUES = 256

Pairs = dict[str, tuple[str, str, str, list[tuple[str, str]]]]


def find_maps(root: str) -> Pairs:
    """Find pairs of image and label map folders.

    Args:
        root (str): Data folder.

    Returns:
        dict: Tuples (image folder, label map folder, label map suffix, file pairs) by split; the
        key is ``""`` if there are no splits. Empty if there are no label maps.
    """
    if not osp.isdir(root):
        return {}
    found = dict(_in_two_folders(root)) or dict(_in_folders_of_splits(root))
    return found or dict(_beside(root))


def _named(folder: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        for spelling in dict.fromkeys((name, name.lower(), name.capitalize())):
            if osp.isdir(osp.join(folder, spelling)):
                yield spelling
                break


def _in_two_folders(root: str) -> Iterator[tuple[str, tuple]]:
    for images in _named(root, IMAGE_FOLDERS):
        for maps in _named(root, MAP_FOLDERS):
            splits = dict(_splits_of(osp.join(root, images)))
            if splits:
                both = {one: (f"{images}/{name}", f"{maps}/{name}") for one, name in splits.items()}
            else:
                both = {"": (images, maps)}
            found = dict(_pairs(root, both))
            if found:
                yield from found.items()
                return


def _in_folders_of_splits(root: str) -> Iterator[tuple[str, tuple]]:
    for split, name in _splits_of(root):
        for images in _named(osp.join(root, name), IMAGE_FOLDERS):
            for maps in _named(osp.join(root, name), MAP_FOLDERS):
                yield from _pairs(root, {split: (f"{name}/{images}", f"{name}/{maps}")})


def _beside(root: str) -> Iterator[tuple[str, tuple]]:
    splits = {split: (name, name) for split, name in _splits_of(root)}
    yield from _pairs(root, splits or {"": ("", "")}, beside=True)


def _splits_of(folder: str) -> Iterator[tuple[str, str]]:
    for name, split in SPLIT_NAMES.items():
        for spelling in (name, name.capitalize()):
            if osp.isdir(osp.join(folder, spelling)):
                yield split, spelling
                break


def _pairs(root: str, both: dict, beside: bool = False) -> Iterator[tuple[str, tuple]]:
    for split, (images, maps) in both.items():
        folders = osp.join(root, images), osp.join(root, maps)
        if not all(map(osp.isdir, folders)):
            continue
        for suffix in SUFFIXES:
            pairs, without = pair_maps(*folders, suffix)
            # Images in two formats with the same file name are not pairs of image and label map.
            if pairs and (not beside or len(pairs) > len(without)):
                yield split, (images, maps, suffix, pairs)
                break


def read_maps(root: str, out: str, void: int | None = None, fold: Fold | None = None) -> OwnData:
    """Read a semantic segmentation dataset.

    Args:
        root (str): Data folder.
        out (str): Work folder to which the lists of a generated split are written.
        void (int, optional): Pixel value to ignore, in addition to 255 and to the classes with a
            void name (``VOID``) in the class name file. Defaults to None.
        fold (Fold, optional): Cross-validation fold that is held out for validation. Defaults to
            None: no cross-validation.

    Returns:
        OwnData: Recognized dataset, with its classes, splits and dataset configs.

    Raises:
        DataError: If there are no training images, or the pixel values are not valid class
            indices.
    """
    pairs = find_maps(root)
    found = {split or "train": one for split, one in pairs.items()}
    if "train" not in found:
        raise DataError(f"{root} contains images of {', '.join(found)}, but none of train")
    data = OwnData("custom-masks", "", osp.abspath(root))
    images, maps, suffix, _ = found["train"]
    where = "in the same folder" if images == maps else f"in {maps}"
    data.layout = f"images in {images or root}, label maps {where}"
    damaged: list[str] = []
    values = {split: _values(root, one, damaged) for split, one in found.items()}
    if damaged:
        data.notes.append(f"skipped: {len(damaged)} damaged label maps, e.g. {damaged[0]}")
    _name_classes(data, {one for part in values.values() for seen in part for one in seen}, void)
    _say_without(data, root, found)
    for split in SPLITS:
        if split in found:
            images, maps, suffix, pairs_of = found[split]
            data.images[split] = len(pairs_of)
            data.datasets[split] = _settings(images, maps, suffix)
    _count(data, values)
    if fold is not None and "val" in found:
        data.notes.append(say_set_aside(data.images["val"]))
        for of_split in (data.datasets, data.images, data.counts):
            of_split.setdefault("test", of_split["val"])
    if fold is not None or "val" not in found:
        _split(data, found["train"], values["train"], out, fold)
    data.datasets.setdefault("test", data.datasets["val"])
    images, _, _, pairs_of = found["train"]
    data.sample = [osp.join(root, images, image) for image, _ in pairs_of]
    return data


def _settings(images: str, maps: str, suffix: str) -> dict:
    settings: dict = {"data_prefix": {"img_path": images, "seg_map_path": maps}}
    return {**settings, "seg_map_suffix": suffix} if suffix else settings


def _say_without(data: OwnData, root: str, found: Pairs) -> None:
    for split, (images, maps, suffix, _) in found.items():
        _, without = pair_maps(osp.join(root, images), osp.join(root, maps), suffix)
        if without:
            data.notes.append(
                f"skipped: {len(without)} images of {split} without a label map, e.g. {without[0]}"
            )
        if images != maps:
            spare = len(images_below(osp.join(root, maps))) - len(found[split][3])
            if spare > 0:
                data.notes.append(f"skipped: {spare} label maps of {split} without an image")


def _values(root: str, found: tuple, damaged: list[str]) -> list[set[int]]:
    _, maps, _, pairs = found
    step = max(1, len(pairs) // LOOKED_AT)
    seen: list[set[int]] = []
    total: set[int] = set()
    for number, (_, label) in enumerate(pairs):
        if number % step:
            seen.append(set())
            continue
        path = osp.join(root, maps, label)
        try:
            with open(path, "rb") as file:
                decoded = decode_map(file.read(), path, "pillow")
        except (ImageError, OSError):
            seen.append(set())
            damaged.append(label)
            continue
        here = set(np.unique(one_channel(_gray(decoded), path)).tolist())
        total |= here
        if len(total) > MOST_VALUES or max(total) > 255:
            raise DataError(
                f"{path}: expected class indices from 0 to 254 as pixel values, but the label maps "
                f"contain {len(total)} different values, up to {max(total)}"
            )
        seen.append(here)
    return seen


def _gray(decoded: np.ndarray) -> np.ndarray:
    """Convert a label map with three equal channels to a single channel."""
    colored = decoded.ndim == 3 and decoded.shape[2] >= 3
    equal = colored and bool((decoded[..., :1] == decoded[..., :3]).all())
    return decoded[..., 0] if equal else decoded


def _name_classes(data: OwnData, values: set[int], void: int | None) -> None:
    names = _file_of_names(data.root)
    if void is not None and void not in values:
        known = join_names(sorted(values))
        raise DataError(f"--void-id {void} does not occur in the label maps (values: {known})")
    if values == {0, IGNORED} and void is None:
        data.classes, data.label_map = ("background", "object"), {IGNORED: 1}
        data.notes.append("binary masks with the values 0 and 255; 255 is the object")
        return
    named = {number for number, name in names.items() if name.lower().strip() in VOID}
    voids = named | ({void} if void is not None else set())
    kept = sorted(values - voids - {IGNORED})
    if not kept:
        raise DataError(
            f"{data.root}: the label maps contain only ignored values: {join_names(values)}"
        )
    if names and not set(kept) <= set(names):
        unnamed = join_names(sorted(set(kept) - set(names)))
        raise DataError(f"{data.root}: the file of class names has no line for values {unnamed}")
    if names:
        kept = sorted(set(names) - voids - {IGNORED})
    elif kept[-1] - kept[0] < 2 * len(kept):
        # Rare classes may be absent from the sample.
        kept = [value for value in range(kept[0], kept[-1] + 1) if value not in voids]
    if len(kept) < 2:
        raise DataError(
            f"{data.root}: expected at least two classes in the label maps, got one ({kept[0]})"
        )
    data.classes = tuple(names.get(value, f"class_{value}") for value in kept)
    table = {value: number for number, value in enumerate(kept) if value != number}
    table.update(dict.fromkeys(sorted(voids & set(range(IGNORED))), IGNORED))
    data.label_map = table or None
    data.notes.append(_say_values(kept, sorted(voids | ({IGNORED} & values)), bool(names)))


def _say_values(kept: list[int], voids: list[int], named: bool) -> str:
    text = f"values {kept[0]} to {kept[-1]} are classes"
    if kept != list(range(kept[0], kept[-1] + 1)):
        text = f"values {join_names(kept)} are classes"
    text += f", {', '.join(map(str, voids))} is ignored (void)" if voids else ", none is ignored"
    if not voids and not named:
        text += f"; to ignore a value, often the last, pass --void-id {kept[-1]}"
    return text + ("" if named else "; name them in a file classes.txt next to the folders")


def _file_of_names(root: str) -> dict[int, str]:
    for name, text in iter_texts(root, [one for one in NAMES if osp.isfile(osp.join(root, one))]):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if len(set(lines)) < len(lines):
            raise DataError(f"{osp.join(root, name)}: the class names must be unique")
        return dict(enumerate(lines))
    return {}


def _count(data: OwnData, values: dict[str, list[set[int]]]) -> None:
    for split, seen in values.items():
        count = Counter(label for one in seen for label in _labels(data, one))
        data.counts[split] = Counter({name: count[k] for k, name in enumerate(data.classes)})


def _labels(data: OwnData, values: set[int]) -> set[int]:
    table = data.label_map or {}
    return {table.get(one, one) for one in values} - {IGNORED}


def _split(
    data: OwnData, found: tuple, values: list[set[int]], out: str, fold: Fold | None
) -> None:
    images, maps, suffix, pairs = found
    lines = {f"{image}\t{label}": seen for (image, label), seen in zip(pairs, values, strict=True)}
    labels = {line: _labels(data, seen) for line, seen in lines.items()}
    named = {line: {data.classes[one] for one in seen} for line, seen in labels.items()}
    chosen = hold_out(named if fold else labels, data.root, fold)
    splits = {
        "train": [line for line in lines if line not in chosen],
        "val": [line for line in lines if line in chosen],
    }
    lists = data.lists = write_lists(out, splits)
    for split, names in splits.items():
        data.datasets[split] = {"ann_file": lists[split], **_settings(images, maps, suffix)}
        data.images[split] = len(names)
        count = Counter(label for name in names for label in labels[name])
        data.counts[split] = Counter({name: count[k] for k, name in enumerate(data.classes)})
    data.notes.append(say_split(out, fold))
