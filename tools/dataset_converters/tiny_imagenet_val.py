#!/usr/bin/env python
"""Sort Tiny-ImageNet's validation images into class folders, as in train/.

ROOT is the extracted archive. Its val/images are not changed unless --mode move is given; OUT
contains one folder per class. Run the same command again to resume after an interruption; OUT
appears only when it is complete. smallvit.TinyImageNet reads the archive directly; this tool is for
CustomDataset, folder2lmdb.py and other programs.
"""

import argparse
import os
import os.path as osp
import shutil
import sys

from smallvit.cli import UserError, run_tool, tool_parser

PARTIAL = ".partial"
#: Name of an unfinished copy in the partial folder.
UNFINISHED = ".copying"


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("root", help="extracted archive, such as data/tiny-imagenet-200")
    parser.add_argument("out", nargs="?", help="output folder; default: ROOT/val_folders")
    parser.add_argument(
        "--mode",
        choices=["link", "copy", "move"],
        default="link",
        help="link: hard links, or copies if the file system does not support them (default)",
    )
    args = parser.parse_args(argv)
    args.out = osp.normpath(args.out or osp.join(args.root, "val_folders"))
    return args


def read_table(root: str) -> dict[str, str]:
    """Return the class of each image, checking the classes against wnids.txt."""
    from smallvit.datasets.io.image_lists import read_lines, require_name

    classes = osp.join(root, "wnids.txt")
    known = {require_name(line.strip(), classes) for line in read_lines(classes)}
    path = osp.join(root, "val", "val_annotations.txt")
    table = {}
    for number, line in enumerate(read_lines(path), 1):
        name, identifier, *_ = [*line.split("\t"), ""]
        if identifier not in known:
            raise UserError(f"{path}, line {number}: class {identifier!r} is not in wnids.txt")
        require_name(name, f"{path}, line {number}")
        if name in table:
            raise UserError(f"{path}, line {number}: {name} is listed twice")
        table[name] = identifier
    without = sorted(known - set(table.values()))
    if without:
        raise UserError(
            f"{path} has no image of {', '.join(without[:5])} ({len(without)} classes): class "
            "indices from folders would not match those of the training images"
        )
    return table


def find_work(source: str, partial: str, table: dict[str, str]) -> dict[str, str]:
    """Return the sources of images that are not placed yet, by target path."""
    work, missing = {}, []
    for name, identifier in table.items():
        target = osp.join(partial, identifier, name)
        origin = osp.join(source, name)
        if not osp.isfile(target):
            work[target] = origin
            missing += [] if osp.isfile(origin) else [origin]
    if missing:
        raise UserError(f"{len(missing)} images are missing, such as {missing[0]}")
    return work


def place(origin: str, target: str, mode: str, temporary: str) -> None:
    """Link, copy or move a file atomically."""
    os.makedirs(osp.dirname(target), exist_ok=True)
    if mode == "link":
        try:
            os.link(origin, target)
            return
        except OSError:
            pass  # another file system, or one without hard links
    elif mode == "move":
        try:
            os.rename(origin, target)
            return
        except OSError:
            pass  # another file system
    shutil.copyfile(origin, temporary)
    os.replace(temporary, target)
    if mode == "move":
        os.remove(origin)


def main(argv=None) -> int:
    args = parse_args(argv)
    table = read_table(args.root)
    if osp.lexists(args.out):
        raise UserError(f"{args.out} already exists: remove it or choose another folder")
    from mmengine.utils import track_iter_progress

    from smallvit.utils.files import remove_quietly

    partial = args.out + PARTIAL
    temporary = osp.join(partial, UNFINISHED)
    work = find_work(osp.join(args.root, "val", "images"), partial, table)
    if len(work) < len(table):
        print(f"resuming: {len(table) - len(work)} of {len(table)} images are in place")
    try:
        for target, origin in track_iter_progress((work.items(), len(work)), file=sys.stderr):
            place(origin, target, args.mode, temporary)
        remove_quietly(temporary)
        os.rename(partial, args.out)
    except OSError as error:
        raise UserError(
            f"cannot write {partial}: {error.strerror}; fix this and run the same command "
            "again to resume"
        ) from error
    print(f"\n{args.out}: {len(table)} images of {len(set(table.values()))} classes")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
