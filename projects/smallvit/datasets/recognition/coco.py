"""Recognition of COCO datasets and of annotation formats that are converted to COCO."""

from __future__ import annotations

import json
import os
import os.path as osp
import re
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from smallvit.datasets.checks import read_json
from smallvit.datasets.coco_repair import repair
from smallvit.datasets.formats import Labeled, coco_content
from smallvit.datasets.formats.folders import inside
from smallvit.datasets.recognition.own_data import SPLITS, OwnData
from smallvit.datasets.recognition.splitting import (
    Fold,
    hold_out,
    say_set_aside,
    say_split,
    write_lists,
)
from smallvit.errors import DataError
from smallvit.utils.files import write_whole
from smallvit.utils.text import join_names

_SPLIT = re.compile(r"(train|valid|val|test)", re.IGNORECASE)
#: Maximum number of JSON files to inspect, in descending order of file size.
LOOKED_INTO = 20
_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"info"')


def coco_files(path: str) -> list[str]:
    """Find COCO annotation files.

    Args:
        path (str): Annotation file, or data folder whose top level or direct subfolders contain
            annotation files.

    Returns:
        list[str]: Sorted paths of the annotation files; empty if none is found.
    """
    if osp.isfile(path):
        return [path] if path.lower().endswith(".json") and _is_coco(path) else []
    found = []
    with os.scandir(path) as entries:
        inner = sorted(one.path for one in entries if one.is_dir() and one.name[:1] != ".")
    for folder in (path, *inner):
        with os.scandir(folder) as entries:
            found += [one.path for one in entries if one.name.lower().endswith(".json")]
    found.sort(key=lambda one: -osp.getsize(one) if osp.isfile(one) else 0)
    return sorted(one for one in found[:LOOKED_INTO] if _is_coco(one))


def _is_coco(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(1 << 16)
        # Rejects most files without parsing them: LabelMe datasets have one JSON file per image.
        if not any(key in start for key in _KEYS):
            return False
        content = read_json(path)
    except (OSError, DataError, RecursionError):
        return False
    lists = ("images", "categories")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in lists)


def read_coco(path: str, out: str, fold: Fold | None = None) -> OwnData:
    """Read a COCO dataset.

    Args:
        path (str): Annotation file or data folder.
        out (str): Work folder to which the files of a generated split are written.
        fold (Fold, optional): Cross-validation fold that is held out for validation. Defaults to
            None: no cross-validation.

    Returns:
        OwnData: Recognized dataset, with its classes, splits and dataset configs.

    Raises:
        DataError: If several annotation files match one split, or the training data is empty.
    """
    root = osp.dirname(osp.abspath(path)) if osp.isfile(path) else osp.abspath(path)
    files = _by_split(coco_files(path))
    contents: dict[str, dict] = {}
    data = OwnData("custom-coco", "COCO", root)
    for split, file in files.items():
        content = read_json(file)
        repair(content, file)
        if split == "test" and not content["annotations"] and len(files) > 1:
            data.notes.append(f"{file} has no annotations and is not used for evaluation")
            continue
        contents[split] = content
        prefix = _prefix(root, file, content)
        relative = osp.relpath(file, root)
        data.datasets[split] = {"ann_file": relative, "data_prefix": {"img": prefix}}
    if "train" not in contents:
        contents["train"] = contents.pop(next(iter(contents)))
        data.datasets = {"train": next(iter(data.datasets.values()))}
    names = [osp.relpath(one, root) for one in files.values()]
    data.layout = f"COCO ({join_names(names)})"
    data.notes += _unused_note(path)
    return _finish(data, contents, out, fold)


def read_labeled(found: Labeled, out: str, fold: Fold | None = None) -> OwnData:
    """Convert the annotations of a labeling tool to COCO files in the work folder.

    Args:
        found (Labeled): Parsed annotations of the data folder.
        out (str): Work folder to which the COCO files are written.
        fold (Fold, optional): Cross-validation fold that is held out for validation. Defaults to
            None: no cross-validation.

    Returns:
        OwnData: Recognized dataset, with its classes, splits and dataset configs.

    Raises:
        DataError: If there are no valid objects or no training images.
    """
    data = OwnData("custom-coco", f"{found.kind}'s files", osp.abspath(found.root))
    data.notes += [*found.notes, *found.unread_lines()]
    if not found.objects:
        why = "; ".join(found.unread_lines()) or "no image is annotated"
        raise DataError(f"{found.root}: the files of {found.kind} contain no valid object ({why})")
    splits: dict[str, list] = {}
    for image in found.images:
        splits.setdefault(image.split or "train", []).append(image)
    if "train" not in splits:
        raise DataError(f"{found.root} contains images of {', '.join(splits)}, but none of train")
    contents = {split: coco_content(images, found.classes) for split, images in splits.items()}
    total = sum(len(one["annotations"]) for one in contents.values())
    data.notes.append(f"{total} objects were written as COCO files to {osp.join(out, 'data')}")
    for split, content in contents.items():
        data.datasets[split] = _written(out, split, content)
    return _finish(data, contents, out, fold)


def _written(out: str, split: str, content: dict) -> dict:
    path = osp.join(osp.abspath(out), "data", f"{split}.json")
    os.makedirs(osp.dirname(path), exist_ok=True)
    write_whole(path, json.dumps(content))
    return {"ann_file": path, "data_prefix": {"img": ""}}


def _split_of(file: str) -> str:
    said = _SPLIT.findall(osp.basename(file)) or _SPLIT.findall(osp.basename(osp.dirname(file)))
    return {"valid": "val"}.get(said[-1].lower(), said[-1].lower()) if said else "train"


def _unused_note(path: str) -> Iterator[str]:
    """Say which annotation files of other splits lie beside a given file."""
    if not osp.isfile(path):
        return
    folder = osp.dirname(osp.abspath(path))
    others = [one for one in coco_files(folder) if _split_of(one) != _split_of(path)]
    if others:
        names = join_names([osp.relpath(one, folder) for one in others])
        yield f"{names} in the same folder: not used. Pass the folder {folder} to use its splits"


def _by_split(files: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_split_of(file), []).append(file)
    chosen = {}
    for split in SPLITS:
        several = found.get(split, [])
        instances = [one for one in several if "instances" in osp.basename(one)]
        several = instances if len(instances) == 1 else several
        if len(several) > 1:
            raise DataError(
                f"{several[0]} and {several[1]} are both annotation files of {split}. Choose one "
                "with --data FILE, or move the other one"
            )
        if several:
            chosen[split] = several[0]
    return chosen


def _prefix(root: str, file: str, content: dict) -> str:
    """Find the image folder of an annotation file by looking up its first 50 images."""
    stem = osp.splitext(osp.basename(file))[0]
    said = _SPLIT.findall(stem)
    names = [said[-1], f"{said[-1]}2017"] if said else []
    names += [stem.removeprefix("instances_"), stem]
    below = [*names, *(f"images/{one}" for one in names), "images", "JPEGImages", ""]
    folders = [osp.join(root, one) for one in below] + [osp.dirname(file)]
    first = [str(one["file_name"]) for one in content["images"][:50]]
    escaped = next((one for one in first if osp.isabs(one)), None)
    if escaped is None:
        escaped = next((one for one in first if inside("a/b/c", one) is None), None)
    if escaped is not None:
        raise DataError(f"{file}: the path {escaped!r} is outside of the data folder")
    present = [sum(osp.isfile(osp.join(folder, one)) for one in first) for folder in folders]
    best = max(present)
    if not best:
        raise DataError(
            f"no image of {file} was found, e.g. {first[0]}, in "
            f"{join_names(list(dict.fromkeys(folders)), 6)}"
        )
    folder = osp.relpath(folders[present.index(best)], root)
    return "" if folder == "." else f"{folder}/"


def _finish(
    data: OwnData, contents: dict[str, dict], out: str, fold: Fold | None = None
) -> OwnData:
    train = contents["train"]
    if not train["annotations"]:
        raise DataError(f"{data.root}: the training images have no annotated object")
    data.classes = tuple(one["name"] for one in train["categories"])
    absent = _missing(data, contents)
    data.notes += absent
    if fold is not None and "val" in contents:
        data.notes.append(say_set_aside(len(contents["val"]["images"])))
        for of_split in (data.datasets, contents):
            given = of_split.pop("val")
            of_split.setdefault("test", given)
    if "val" not in contents:
        _split(data, contents, out, fold)
        if not contents["train"]["annotations"]:
            raise DataError(
                f"{data.root}: too few images with objects to hold some of them out for "
                "validation. Add images, or create the folders train/ and val/"
            )
    for split, content in contents.items():
        names = {one["id"]: one["name"] for one in content["categories"]}
        count = Counter(names.get(one["category_id"]) for one in content["annotations"])
        data.images[split] = len(content["images"])
        data.counts[split] = Counter({name: count[name] for name in data.classes})
    _measure(data, contents["train"])
    _form(data, contents)
    prefix = data.datasets["train"]["data_prefix"]["img"]
    data.sample = [osp.join(data.root, prefix, one["file_name"]) for one in train["images"]]
    if "test" not in data.datasets:
        data.datasets["test"] = data.datasets["val"]
    return data


def _missing(data: OwnData, contents: dict[str, dict]) -> list[str]:
    notes = []
    for split, content in contents.items():
        folder = osp.join(data.root, data.datasets[split]["data_prefix"]["img"])
        names = [str(one["file_name"]) for one in content["images"]]
        gone = [name for name in names if not osp.isfile(osp.join(folder, name))]
        if gone:
            notes.append(
                f"{len(gone)} of {len(names)} images of {split} are missing, e.g. {gone[0]}"
            )
    return notes


def _split(data: OwnData, contents: dict[str, dict], out: str, fold: Fold | None = None) -> None:
    whole, settings = contents["train"], data.datasets["train"]
    objects: dict[Any, list] = {one["id"]: [] for one in whole["images"]}
    for one in whole["annotations"]:
        objects.get(one["image_id"], []).append(one["category_id"])
    names = {one["id"]: one["name"] for one in whole["categories"]} if fold else {}
    labels = {
        one["file_name"]: [names.get(label, label) for label in objects[one["id"]]]
        for one in whole["images"]
    }
    chosen = hold_out(labels, data.root, fold)
    parts: dict[str, Callable[[dict], bool]] = {
        "train": lambda one: one["file_name"] not in chosen,
        "val": lambda one: one["file_name"] in chosen,
    }
    lists = {}
    for split, belongs in parts.items():
        images = [one for one in whole["images"] if belongs(one)]
        ids = {one["id"] for one in images}
        kept = [one for one in whole["annotations"] if one["image_id"] in ids]
        contents[split] = {**whole, "images": images, "annotations": kept}
        data.datasets[split] = {**settings, **_file(out, split, contents[split])}
        lists[split] = [one["file_name"] for one in images]
    data.lists = write_lists(out, lists)
    data.notes.append(say_split(out, fold))


def _file(out: str, split: str, content: dict) -> dict:
    return {"ann_file": _written(out, split, content)["ann_file"]}


def _measure(data: OwnData, content: dict) -> None:
    boxes = [one["bbox"] for one in content["annotations"]]
    data.side = float(median((box[2] * box[3]) ** 0.5 for box in boxes))
    data.longest = int(median(max(one["width"], one["height"]) for one in content["images"]))
    data.most_objects = max(Counter(one["image_id"] for one in content["annotations"]).values())


def _form(data: OwnData, contents: dict[str, dict]) -> None:
    total = without = 0
    for split in contents:
        for one in contents[split]["annotations"]:
            total += 1
            without += not one.get("segmentation")
    if without:
        data.form = "custom-boxes"
    if 0 < without < total:
        data.notes.append(
            f"{without} of {total} objects have no outline, so only boxes are trained. Add "
            "outlines, or remove these objects, to train masks"
        )
