#!/usr/bin/env python
"""Convert a COCO file to YOLO, Pascal VOC or LabelMe annotations.

Images are linked, not copied. Formats differ in what they can store: YOLO has one polygon per
object, Pascal VOC only boxes.
"""

import json
import os
import os.path as osp
import sys
from xml.sax.saxutils import escape

from smallvit.cli import run_tool, tool_parser
from smallvit.datasets.checks import read_json
from smallvit.errors import UserError


def parse_args(argv=None):
    parser = tool_parser(__doc__)
    parser.add_argument("annotations", help="COCO annotation file (JSON)")
    parser.add_argument("images", help="image folder")
    parser.add_argument("out", help="output folder")
    parser.add_argument("--format", choices=sorted(WRITERS), required=True)
    parser.add_argument("--split", choices=["train", "val", "test"], default="train")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    content = read_json(args.annotations)
    names = {one["id"]: one["name"] for one in content["categories"]}
    objects: dict = {}
    for one in content["annotations"]:
        objects.setdefault(one["image_id"], []).append(one)
    for image in content["images"]:
        source = osp.join(args.images, image["file_name"])
        if not osp.isfile(source):
            raise UserError(f"{source} does not exist")
        WRITERS[args.format](args.out, args.split, image, objects.get(image["id"], []), names)
        link(source, place(args.out, args.format, args.split, image))
    if args.format == "yolo":
        write(osp.join(args.out, "data.yaml"), yolo_description(args.out, names))
    print(f"{len(content['images'])} images, {len(content['annotations'])} objects: {args.out}")


def place(out: str, kind: str, split: str, image: dict) -> str:
    folder = {"yolo": f"images/{split}", "voc": "JPEGImages", "labelme": split}[kind]
    return osp.join(out, folder, image["file_name"])


def link(source: str, target: str) -> None:
    os.makedirs(osp.dirname(target), exist_ok=True)
    if not osp.lexists(target):
        os.symlink(osp.abspath(source), target)


def write(path: str, text: str, append: bool = False) -> None:
    os.makedirs(osp.dirname(path), exist_ok=True)
    with open(path, "a" if append else "w", encoding="utf-8") as file:
        file.write(text)


def yolo_description(out: str, names: dict) -> str:
    lines = [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names.values())]
    there = [one for one in ("train", "val", "test") if osp.isdir(osp.join(out, "images", one))]
    splits = [f"{one}: images/{one}" for one in there]
    return "\n".join(["path: .", *splits, "names:", *lines, ""])


def write_yolo(out: str, split: str, image: dict, objects: list, names: dict) -> None:
    numbers = {key: number for number, key in enumerate(names)}
    width, height = image["width"], image["height"]
    lines = []
    for one in objects:
        polygons = one.get("segmentation")
        if polygons and isinstance(polygons, list):
            # Join the parts, because YOLO has a single outline per object.
            points = [value for polygon in polygons for value in polygon]
            parts = [value / (height if at % 2 else width) for at, value in enumerate(points)]
        else:
            x, y, w, h = one["bbox"]
            parts = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        values = " ".join(f"{value:.6f}" for value in parts)
        lines.append(f"{numbers[one['category_id']]} {values}\n")
    stem = osp.splitext(image["file_name"])[0]
    write(osp.join(out, "labels", split, f"{stem}.txt"), "".join(lines))


def write_voc(out: str, split: str, image: dict, objects: list, names: dict) -> None:
    nodes = []
    for one in objects:
        x, y, w, h = one["bbox"]
        sides = zip(("xmin", "ymin", "xmax", "ymax"), (x, y, x + w, y + h), strict=True)
        box = "".join(f"<{name}>{value:g}</{name}>" for name, value in sides)
        label = escape(names[one["category_id"]])
        nodes.append(f"<object><name>{label}</name><bndbox>{box}</bndbox></object>\n")
    name, stem = image["file_name"], osp.splitext(image["file_name"])[0]
    head = f"<filename>{escape(name)}</filename>"
    text = f"<annotation>{head}\n{''.join(nodes)}</annotation>\n"
    write(osp.join(out, "Annotations", f"{stem}.xml"), text)
    write(osp.join(out, "ImageSets/Main", f"{split}.txt"), f"{stem}\n", append=True)


def write_labelme(out: str, split: str, image: dict, objects: list, names: dict) -> None:
    shapes = []
    for number, one in enumerate(objects):
        polygons = one.get("segmentation") or []
        for polygon in polygons:
            points = [list(pair) for pair in zip(polygon[::2], polygon[1::2], strict=True)]
            shapes.append(
                {
                    "label": names[one["category_id"]],
                    "points": points,
                    "group_id": number if len(polygons) > 1 else None,
                    "shape_type": "polygon",
                }
            )
    name, stem = image["file_name"], osp.splitext(image["file_name"])[0]
    content = {"version": "5.5.0", "imagePath": name, "imageData": None, "shapes": shapes}
    write(osp.join(out, split, f"{stem}.json"), json.dumps(content))


WRITERS = {"yolo": write_yolo, "voc": write_voc, "labelme": write_labelme}

if __name__ == "__main__":
    sys.exit(run_tool(main))
