#!/usr/bin/env python
"""Sort Tiny-ImageNet's validation images into class folders, as in train/.

ROOT is the unpacked archive. Its val/images stay as they are, unless --mode move is given;
OUT gets a folder for each class. An interrupted run continues when the same command is given
again; OUT appears when it is whole. smallvit.TinyImageNet reads the archive as it is; this is
for CustomDataset, folder2lmdb.py and other programs.
"""

import argparse
import os
import os.path as osp
import shutil
import sys

from smallvit.cli import UserError, run_tool, tool_parser

PARTIAL = ".partial"
#: A copy that is not whole yet, in the unfinished folder.
UNFINISHED = ".copying"


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("root", help="the unpacked folder, such as data/tiny-imagenet-200")
    parser.add_argument("out", nargs="?", help="folder to write; default: ROOT/val_folders")
    parser.add_argument(
        "--mode",
        choices=["link", "copy", "move"],
        default="link",
        help="link: hard links, copies where the file system has none (default)",
    )
    args = parser.parse_args(argv)
    args.out = osp.normpath(args.out or osp.join(args.root, "val_folders"))
    return args


def read_table(root: str) -> dict[str, str]:
    """Read the class of each image, and check that the classes are those of wnids.txt."""
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
            f"{path} has no image of {', '.join(without[:5])} ({len(without)} classes): labels by "
            "folder would not be those of the training images"
        )
    return table


def find_work(source: str, partial: str, table: dict[str, str]) -> dict[str, str]:
    """Tell which images are still to be placed, by their target; all must be somewhere."""
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
    """Put a file in its place in one step."""
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
        raise UserError(f"{args.out} is there: remove it or choose another folder")
    from mmengine.utils import track_iter_progress

    from smallvit.utils.files import remove_quietly

    partial = args.out + PARTIAL
    temporary = osp.join(partial, UNFINISHED)
    work = find_work(osp.join(args.root, "val", "images"), partial, table)
    if len(work) < len(table):
        print(f"continues: {len(table) - len(work)} of {len(table)} images are in place")
    try:
        for target, origin in track_iter_progress((work.items(), len(work)), file=sys.stderr):
            place(origin, target, args.mode, temporary)
        remove_quietly(temporary)
        os.rename(partial, args.out)
    except OSError as error:
        raise UserError(
            f"cannot write {partial}: {error.strerror}; run the same command again when that is "
            "mended: it continues"
        ) from error
    print(f"\n{args.out}: {len(table)} images of {len(set(table.values()))} classes")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
