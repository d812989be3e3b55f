"""Reader for Pascal VOC annotations: one XML file per image with boxes or polygons."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from smallvit.datasets.formats.folders import (
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

KIND = "Pascal VOC"
SIDES = ("xmin", "ymin", "xmax", "ymax")


class UnsafeXMLError(ValueError):
    """Raised for XML with a document type declaration, which may define entities."""


def parse_xml(content: bytes) -> Element:
    """Parse XML safely: document type declarations, and therefore entities, are rejected.

    Args:
        content (bytes): Content of the XML file.

    Returns:
        Element: Root element.

    Raises:
        ValueError: If the content is not valid XML, or contains a document type declaration.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*declaration: object) -> None:
        raise UnsafeXMLError("document type declaration")

    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, AssertionError, LookupError) as error:
        raise ValueError(str(error)) from None


def is_voc(root: str) -> bool:
    """Check whether a folder contains Pascal VOC annotations.

    Args:
        root (str): Folder to search.

    Returns:
        bool: True if one of the first 20 XML files contains an annotation.
    """
    for name in files_below(root, (".xml",))[:20]:
        content = content_of(osp.join(root, name))
        if isinstance(content, bytes) and b"<annotation" in content[:4096]:
            return True
    return False


def read_voc(root: str) -> Labeled:
    """Read the Pascal VOC annotations of a data folder.

    The XML files are in ``Annotations`` or next to the images. The image of an XML file is located
    by its ``filename`` element, or by the name of the XML file. The splits are defined by
    ``ImageSets/Main/train.txt``, ``val.txt`` and ``test.txt``, or by folders of these names.
    Coordinates are read without an offset.

    Args:
        root (str): Data folder.

    Returns:
        Labeled: Images with their objects, and the skipped entries by reason.

    Raises:
        DataError: If the folder contains no file of this format.
    """
    found = Labeled(KIND, root)
    names = files_below(root, (".xml",))
    if not names:
        raise DataError(f"{root} contains no XML file of {KIND}")
    images = images_below(root)
    by_path, by_stem = set(images), {}
    for image in images:
        by_stem.setdefault(osp.splitext(osp.basename(image))[0], []).append(image)
    sets = dict(_image_sets(root))
    taken: dict[str, str] = {}
    for name in names:
        tree = _tree(found, root, name)
        if tree is None:
            continue
        image = _image_of(tree, name, by_path, by_stem)
        if image is None:
            found.leave_out("annotation without its image", name)
        elif image in taken:
            found.leave_out(f"second annotation of an image (first: {taken[image]})", name)
        else:
            taken[image] = name
            split = sets.get(osp.splitext(osp.basename(name))[0]) or split_of(name)
            _read_image(found, tree, name, image, split or split_of(image))
    for image in images:
        # Images that are not in ImageSets, such as label maps, do not need an annotation.
        if image not in taken and osp.splitext(osp.basename(image))[0] in sets:
            found.leave_out("image of ImageSets without an annotation", image)
    found.classes = tuple(sorted({one.label for image in found.images for one in image.shapes}))
    return found


def _image_sets(root: str) -> Iterator[tuple[str, str]]:
    """Iterate over pairs of image name without extension and split."""
    lists = [
        name
        for name in files_below(root, (".txt",))
        if "ImageSets" in name.split("/")[:-1]
        and osp.basename(name).lower() in ("train.txt", "val.txt", "test.txt")
    ]
    for name, text in iter_texts(root, lists):
        split = osp.splitext(osp.basename(name).lower())[0]
        for line in filter(None, map(str.strip, text.splitlines())):
            # Per-class lists append 1, -1 or 0 to the name, but a name may also end like that.
            stem, _, flag = line.rpartition(" ")
            if stem and flag in ("1", "-1", "0"):
                yield stem.strip(), split
            yield line, split


def _tree(found: Labeled, root: str, name: str) -> Element | None:
    content = content_of(osp.join(root, name))
    if isinstance(content, str):
        found.leave_out(content, name)
        return None
    try:
        tree = parse_xml(content)
    except UnsafeXMLError:
        found.leave_out("XML with a document type declaration, which is not allowed", name)
        return None
    except ValueError:
        found.leave_out("file that is not XML", name)
        return None
    if tree.tag != "annotation":
        found.leave_out(f"XML file that is not in the format of {KIND}", name)
        return None
    return tree


def _image_of(
    tree: Element, name: str, by_path: set[str], by_stem: dict[str, list[str]]
) -> str | None:
    said = _text(tree, "filename")
    folder = osp.dirname(name)
    tail = osp.basename(said.replace("\\", "/"))
    places = (folder, *(inside(folder, other) for other in ("../JPEGImages", "../images")))
    for place in places:
        path = inside(place, tail) if place is not None and tail else None
        if path in by_path:
            return path
    near: list[str] = []
    for stem in (osp.splitext(osp.basename(name))[0], osp.splitext(tail)[0]):
        near = near or by_stem.get(stem, [])
    # SegmentationClass and SegmentationObject contain label maps with the same names.
    near = [one for one in near if "Segmentation" not in one] or near
    same = [one for one in near if split_of(one) == split_of(name)]
    return (same or near or [None])[0]


def _read_image(found: Labeled, tree: Element, name: str, image: str, split: str | None) -> None:
    size = size_of_image(osp.join(found.root, image))
    if isinstance(size, str):
        found.leave_out(size, image)
        return
    entry = LabeledImage(image, size, split=split)
    for number, node in enumerate(tree.iter("object"), 1):
        shape = _shape(node)
        if isinstance(shape, Shape) and outside(shape.box, size):
            shape = "box outside of the image"
        if isinstance(shape, str):
            found.leave_out(shape, f"object {number} of {name}")
        else:
            entry.shapes.append(shape)
    found.images.append(entry)


def _shape(node: Element) -> Shape | str:
    label = _text(node, "name")
    if not label:
        return "object without a name"
    try:
        polygon = node.find("polygon")
        if polygon is not None and len(polygon):
            return shape_of_polygons(label, [_points(polygon)])
        box = node.find("bndbox")
        if box is None:
            return "object without a box"
        return shape_of_box(label, *(float(_text(box, side)) for side in SIDES))
    except ValueError:
        return "coordinates that are not numbers"


def _points(polygon: Element) -> list[float]:
    """Read a polygon from elements ``x1, y1, x2, y2, ...``, or from ``pt`` with ``x`` and ``y``."""
    points = polygon.findall("pt")
    if points:
        return [float(_text(point, axis)) for point in points for axis in ("x", "y")]
    return [float(one.text or "") for one in polygon if one.tag[:1] in ("x", "y")]


def _text(node: Element, name: str) -> str:
    return (node.findtext(name) or "").strip()
