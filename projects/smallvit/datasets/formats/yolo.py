"""Reader for YOLO annotations: one text file per image with normalized boxes or polygons."""

from __future__ import annotations

import os.path as osp
import re
from collections.abc import Iterator
from typing import Any

import yaml

from smallvit.datasets.formats.folders import (
    IMAGE_ENDINGS,
    content_of,
    files_below,
    images_below,
    inside,
    iter_texts,
    size_of_image,
    split_of,
)
from smallvit.datasets.formats.labeled import (
    Labeled,
    LabeledImage,
    Shape,
    outside,
    shape_of_box,
    shape_of_polygons,
)
from smallvit.errors import DataError
from smallvit.utils.text import join_names

KIND = "YOLO"
#: Prefixes of the names of text files that are not label files.
OTHER_TEXTS = ("classes.txt", "readme", "labels.txt", "train.txt", "val.txt", "test.txt")
LABEL = re.compile(r"\d+( +-?[\d.]+(e-?\d+)?){4,}", re.IGNORECASE)
#: Tolerance for normalized coordinates outside of [0, 1], because labeling tools round them.
TOLERANCE = 0.01
MAX_YAML = 1 << 20
_KEYS = (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "test"))


def is_yolo(root: str) -> bool:
    """Check whether a folder contains YOLO annotations.

    Args:
        root (str): Folder to search.

    Returns:
        bool: True if a YAML file defines class names, or a text file in a folder ``labels``
        starts with a label.
    """
    if _description(root) is not None:
        return True
    texts = [name for name in _label_files(root) if "labels" in name.lower().split("/")[:-1]]
    return any(LABEL.match(text.strip()) for _, text in iter_texts(root, texts[:50]))


def _label_files(root: str) -> list[str]:
    names = files_below(root, (".txt",))
    return [name for name in names if not osp.basename(name).lower().startswith(OTHER_TEXTS)]


def _description(root: str) -> tuple[str, dict] | None:
    """Find and parse the YAML file that defines the class names."""
    for name in files_below(root, (".yaml", ".yml")):
        if name.count("/") > 1:
            continue
        content = content_of(osp.join(root, name))
        if isinstance(content, str) or len(content) > MAX_YAML:
            continue
        try:
            found = yaml.safe_load(content)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
            continue
        if isinstance(found, dict) and isinstance(found.get("names"), (list, dict)):
            return name, found
    return None


def read_yolo(root: str) -> Labeled:
    """Read the YOLO annotations of a data folder.

    Label files are located as in Ultralytics: in ``labels`` if the image is in ``images``,
    otherwise next to the image. ``data.yaml`` defines the classes and the splits; without it,
    ``classes.txt`` defines the classes, and the folder names define the splits. Images without a
    label file have no objects.

    Args:
        root (str): Data folder.

    Returns:
        Labeled: Images with their objects, and the skipped entries by reason.

    Raises:
        DataError: If the class names are invalid, or the folder contains no images.
    """
    found = Labeled(KIND, root)
    described = _description(root)
    labels = set(_label_files(root))
    images = dict(_images(found, described))
    if not images:
        raise DataError(
            f"{root} contains no image in the layout of {KIND}. Expected images/ and labels/, "
            "optionally with train/ and val/ in each"
        )
    names = _names(root, described)
    if described is not None and described[1].get("kpt_shape") is not None:
        found.notes.append("key points are ignored; only the boxes are read")
    used, without = set(), 0
    points = _key_points(described)
    for image, split in images.items():
        size = size_of_image(osp.join(root, image))
        if isinstance(size, str):
            found.leave_out(size, image)
            used.add(_label_of(image))
            continue
        entry = LabeledImage(image, size, split=split)
        label = _label_of(image)
        if label in labels:
            used.add(label)
            _read_labels(found, entry, label, names, points)
        else:
            without += 1
        found.images.append(entry)
    for label in sorted(labels - used):
        if "labels" in label.lower().split("/")[:-1]:
            found.leave_out("label file without its image", label)
    if without:
        found.notes.append(f"{without} images have no label file and are used without objects")
    found.classes = _classes(found, names)
    return found


def _key_points(described: tuple[str, dict] | None) -> int:
    shape = described[1].get("kpt_shape") if described is not None else None
    if isinstance(shape, list) and len(shape) == 2 and all(type(one) is int for one in shape):
        return shape[0] * shape[1]
    return 0


def _names(root: str, described: tuple[str, dict] | None) -> dict[int, str] | None:
    """Read the class names by class index; None if no file defines them."""
    if described is not None:
        name, content = described
        given = content["names"]
        pairs = enumerate(given) if isinstance(given, list) else given.items()
        names = {key: str(value) for key, value in pairs if type(key) is int and key >= 0}
        if len(names) < len(given) or len(set(names.values())) < len(names) or not names:
            raise DataError(f"{osp.join(root, name)}: names must contain one unique name per class")
        return names
    for _, text in iter_texts(root, _class_lists(root)):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines and len(set(lines)) == len(lines):
            return dict(enumerate(lines))
    return None


def _class_lists(root: str) -> list[str]:
    names = files_below(root, (".txt",))
    return [name for name in names if osp.basename(name).lower() in ("classes.txt", "obj.names")]


def _classes(found: Labeled, names: dict[int, str] | None) -> tuple[str, ...]:
    if names is not None:
        return tuple(names[number] for number in sorted(names))
    labels = {one.label for image in found.images for one in image.shapes}
    found.notes.append(
        "no data.yaml or classes.txt defines class names; using class_0, class_1, ..."
    )
    return tuple(sorted(labels, key=lambda one: int(one.rpartition("_")[2])))


def _images(found: Labeled, described: tuple[str, dict] | None) -> Iterator[tuple[str, str]]:
    """Iterate over pairs of image path and split."""
    listed: dict[str, str | None] = {}
    if described is not None:
        for key, split in _KEYS:
            for image in _of_source(found, described, described[1].get(key)):
                listed.setdefault(image, split)
    if listed:
        yield from listed.items()
        return
    for image in images_below(found.root):
        if "labels" not in image.lower().split("/")[:-1]:
            yield image, split_of(image)


def _of_source(found: Labeled, described: tuple[str, dict], source: Any) -> Iterator[str]:
    """Iterate over the images of a split entry in the YAML file: folders or image lists."""
    name, content = described
    if isinstance(source, list):
        for one in source:
            yield from _of_source(found, described, one)
        return
    if not isinstance(source, str) or not source:
        return
    places = _places(found.root, name, content.get("path"), source)
    path = next((one for one in places if osp.exists(osp.join(found.root, one))), None)
    if path is None:
        why = "missing image folder" if places else "image folder outside of the data folder"
        found.leave_out(why, f"{source} in {name}")
        return
    whole = osp.join(found.root, path)
    if osp.isdir(whole):
        yield from (path + "/" + one if path != "." else one for one in images_below(whole))
    elif osp.isfile(whole):
        for line in next(iter_texts(found.root, [path]), ("", ""))[1].splitlines():
            image = inside(osp.dirname(path), line.strip()) if line.strip() else None
            if image and image.lower().endswith(IMAGE_ENDINGS):
                if osp.isfile(osp.join(found.root, image)):
                    yield image
                else:
                    found.leave_out("listed image that is missing", image)
            elif line.strip():
                found.leave_out("listed path outside of the data folder", line.strip()[:80])


def _places(root: str, name: str, base: Any, source: str) -> list[str]:
    """List candidate paths of a split entry, relative to the YAML file or to its ``path``.

    ``path`` may only be valid on the machine on which the file was written, and entries may start
    with ``../`` although the folders are next to the file.
    """
    folder = osp.dirname(name)
    tries = [inside(folder, source)]
    if isinstance(base, str):
        below = inside(folder, base)
        tries.insert(0, inside(below, source) if below is not None else None)
    absolute = osp.normpath(osp.join(base, source)) if isinstance(base, str) else source
    if osp.isabs(absolute):
        tries.append(inside("", osp.relpath(absolute, osp.abspath(root))))
    here = inside(folder, re.sub(r"^(\.\./)+", "", source))
    if here is not None and osp.exists(osp.join(root, here)):
        tries.append(here)
    return [one for one in tries if one is not None]


def _label_of(image: str) -> str:
    parts = image.split("/")
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() == "images":
            parts[place] = "labels" if parts[place] == "images" else "Labels"
            break
    return osp.splitext("/".join(parts))[0] + ".txt"


def _read_labels(
    found: Labeled,
    entry: LabeledImage,
    label: str,
    names: dict[int, str] | None,
    points: int,
) -> None:
    content = content_of(osp.join(found.root, label))
    if isinstance(content, str):
        found.leave_out(content, label)
        return
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        shape = _shape(line.split(), entry.size, names, points)
        if isinstance(shape, Shape) and outside(shape.box, entry.size):
            shape = "object outside of the image"
        if isinstance(shape, str):
            found.leave_out(shape, f"line {number} of {label}")
        else:
            entry.shapes.append(shape)


def _shape(
    words: list[str], size: tuple[int, int], names: dict[int, str] | None, points: int
) -> Shape | str:
    try:
        number, values = int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        return "line that is not numeric"
    if number < 0 or (names is not None and number not in names):
        known = join_names(sorted(names)) if names else "0 and above"
        return f"unknown class {number} (classes: {known})"
    name = names[number] if names is not None else f"class_{number}"
    if points and len(values) == 4 + points:
        values = values[:4]
    if any(not -TOLERANCE <= value <= 1 + TOLERANCE for value in values):
        return "coordinates that are not normalized (0 to 1)"
    width, height = size
    if len(values) == 4:
        x, y, w, h = values
        if w < 0 or h < 0:
            return "box with a negative size"
        left, top = (x - w / 2) * width, (y - h / 2) * height
        return shape_of_box(name, left, top, left + w * width, top + h * height)
    if len(values) < 4:
        return "polygon with fewer than three points"
    if len(values) % 2:
        return "line with an odd number of coordinates, neither a box (4) nor a polygon"
    scaled = [value * (height if place % 2 else width) for place, value in enumerate(values)]
    return shape_of_polygons(name, [scaled])
