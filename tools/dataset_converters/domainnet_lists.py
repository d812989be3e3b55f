#!/usr/bin/env python
"""Convert DomainNet's lists to annotation files for MMPretrain.

ROOT contains the extracted domains and the lists:
  clipart/aircraft_carrier/clipart_001_000001.jpg ...
  clipart_train.txt, clipart_test.txt ...        lines "clipart/aircraft_carrier/... 0"

Writes <domain>_train.txt, <domain>_test.txt and classes.txt, for
  dict(type="CustomDataset", data_root=ROOT, ann_file="meta/clipart_train.txt",
       classes=ROOT + "/meta/classes.txt")
and for folder2lmdb.py --ann-file. A class must have the same label in all lists, and a file must
be in only one of them.
"""

import argparse
import os
import os.path as osp
import sys

from smallvit.cli import UserError, run_tool, tool_parser

SPLITS = ("train", "test")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("root", help="folder with the domains and lists, such as data/domainnet")
    parser.add_argument("--domains", nargs="+", help="default: all domains with lists")
    parser.add_argument("--out", help="output folder; default: ROOT/meta")
    parser.add_argument("--check", action="store_true", help="check that all files exist")
    return parser.parse_args(argv)


def find_domains(root: str) -> list[str]:
    if not osp.isdir(root):
        raise UserError(f"no such folder: {root}")
    names = (name.removesuffix("_train.txt") for name in os.listdir(root))
    domains = sorted(name for name in names if osp.isfile(osp.join(root, f"{name}_train.txt")))
    if not domains:
        raise UserError(f"{root} contains no list such as clipart_train.txt")
    return domains


def check_domain(path: str, domain: str, samples) -> None:
    for name, _ in samples:
        parts = name.split("/")
        if len(parts) != 3 or parts[0] != domain:
            raise UserError(f"{path}: {name!r} is not of the form {domain}/CLASS/FILE")


def name_classes(lists: dict) -> list[str]:
    """Return the class name of each label, checking that the mapping is one-to-one."""
    classes, labels, splits = {}, {}, {}
    for path, samples in lists.items():
        for name, label in samples:
            kind = name.split("/")[1]
            known = classes.setdefault(label, (kind, path))
            if known[0] != kind:
                raise UserError(
                    f"{path}: label {label} is {kind!r} ({name}), but {known[0]!r} in {known[1]}"
                )
            number, first = labels.setdefault(kind, (label, path))
            if number != label:
                raise UserError(
                    f"{path}: {kind!r} has label {label} ({name}), but {number} in {first}"
                )
            if splits.setdefault(name, path) != path:
                raise UserError(f"{path}: {name} is in {splits[name]} too")
    missing = sorted(set(range(max(classes) + 1)) - set(classes))
    if missing:
        raise UserError(f"{', '.join(lists)}: no image has label {', '.join(map(str, missing))}")
    return [classes[label][0] for label in range(len(classes))]


def check_files(root: str, lists: dict) -> None:
    missing = [
        osp.join(root, name)
        for samples in lists.values()
        for name, _ in samples
        if not osp.isfile(osp.join(root, name))
    ]
    for path in missing:
        print(f"missing: {path}")
    if missing:
        raise UserError(f"{len(missing)} listed files are missing; nothing was written")


def main(argv=None) -> int:
    args = parse_args(argv)
    from smallvit.datasets.io.image_lists import annotation_text, read_annotations
    from smallvit.utils.files import write_whole

    lists = {}
    for domain in args.domains or find_domains(args.root):
        for split in SPLITS:
            path = osp.join(args.root, f"{domain}_{split}.txt")
            lists[path] = read_annotations(path, args.root).samples
            check_domain(path, domain, lists[path])
    classes = name_classes(lists)
    if args.check:
        check_files(args.root, lists)
    out = args.out or osp.join(args.root, "meta")
    os.makedirs(out, exist_ok=True)
    for path, samples in lists.items():
        target = osp.join(out, osp.basename(path))
        if osp.exists(target) and osp.samefile(target, path):
            raise UserError(f"--out {out} contains the input lists: choose another folder")
        write_whole(target, annotation_text(samples))
        print(f"{target}: {len(samples)} images")
    write_whole(osp.join(out, "classes.txt"), "".join(f"{name}\n" for name in classes))
    print(f"{osp.join(out, 'classes.txt')}: {len(classes)} classes")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
