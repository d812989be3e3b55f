#!/usr/bin/env python
"""Pack images into an LMDB store that MMEngine's LMDB backend reads.

Each file is decoded once to see that it is whole, and stored as it is, under its path relative
to SRC: no pickles. Beside the data lies annotations.txt, the ann_file of the store. An
interrupted run continues when the same command is given again; the store appears under its
name when it is whole.

  SRC with a folder per class, such as data/imagenet/train:
    folder2lmdb.py data/imagenet/train data/imagenet/train.lmdb
  any other layout, by an annotation file with lines "path label" (domainnet_lists.py and
  tiny_imagenet_val.py write such lists and folders):
    folder2lmdb.py data/domainnet data/domainnet/clipart_train.lmdb \\
        --ann-file data/domainnet/meta/clipart_train.txt --classes data/domainnet/meta/classes.txt
"""

import argparse
import os.path as osp
import sys

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_workers_flag
from smallvit.datasets.io.parallel import read_all


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("src", help="folder of the images")
    parser.add_argument("dst", help="store to write, such as data/imagenet/train.lmdb")
    parser.add_argument("--ann-file", help="list of the images; default: a folder is a class")
    parser.add_argument("--classes", help="names of the classes of --ann-file, one in a line")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave bad images out instead of stopping"
    )
    add_workers_flag(parser)
    args = parser.parse_args(argv)
    if args.classes and not args.ann_file:
        parser.error("--classes goes with --ann-file: class folders have names")
    args.src, args.dst = (osp.normpath(path) for path in (args.src, args.dst))
    return args


class WholeFiles:
    """The files of a list, read and decoded once."""

    def __init__(self, root: str, names: list[str]) -> None:
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, bytes, str | None]:
        """Read a file: its name, what it holds, and what is wrong with it."""
        from smallvit.datasets.io.images import decode
        from smallvit.errors import ImageError

        name = self.names[index]
        path = osp.join(self.root, name)
        try:
            with open(path, "rb") as file:
                content = file.read()
            decode(content, path)
        except OSError as error:
            return name, b"", error.strerror or str(error)
        except ImageError as error:
            return name, b"", str(error).removeprefix(f"{path}: ")
        return name, content, None


def list_images(args: argparse.Namespace):
    from smallvit.datasets.io.image_lists import list_folder, read_annotations

    if not osp.isdir(args.src):
        raise UserError(f"no such folder: {args.src}")
    if args.ann_file:
        return read_annotations(args.ann_file, args.src, args.classes)
    if osp.dirname(osp.abspath(args.dst)) == osp.abspath(args.src):
        raise UserError(f"{args.dst} would be a class folder of {args.src}: write it elsewhere")
    return list_folder(args.src)


def check_present(path: str, digest: str) -> None:
    """Refuse to replace anything but the same store."""
    from smallvit.datasets.lmdb_writer import read_meta

    meta = read_meta(path)
    if meta is None:
        raise UserError(f"{path} is there and no store of ours: remove it or choose another name")
    if meta["list"] != digest:
        raise UserError(
            f"{path} is there and holds another list of images: remove it or choose another name"
        )
    print(f"{path} is complete: {meta['images']} images, {meta['skipped']} left out")


def pack(writer, names: list[str], workers: int) -> dict[str, str]:
    """Store the files; return the bad ones and what is wrong with them."""
    bad = {}
    for items in read_all(WholeFiles(writer.images.root, names), workers):
        for name, content, reason in items:
            if reason is None:
                writer.add(name, content)
            else:
                bad[name] = reason
    writer.flush()
    return bad


def main(argv=None) -> int:
    args = parse_args(argv)
    from smallvit.datasets.lmdb_writer import LMDBWriter

    images = list_images(args)
    if osp.lexists(args.dst):
        check_present(args.dst, images.digest)
        return 0
    with LMDBWriter(args.dst, images) as writer:
        names = writer.resume()
        if writer.stored:
            print(f"continues: {len(writer.stored)} of {len(images.samples)} images are stored")
        bad = pack(writer, names, args.workers)
        for name, reason in bad.items():
            print(f"bad: {osp.join(args.src, name)}: {reason}")
        if bad and not args.skip_bad:
            raise UserError(
                f"{len(bad)} of {len(images.samples)} images are bad. Mend or remove them and run "
                f"the same command again ({writer.partial} keeps the others), or add --skip-bad"
            )
        if not writer.stored:
            raise UserError(f"{args.src}: no image is left to store")
        writer.finish(bad)
    print(f"{args.dst}: {len(writer.stored)} images, {len(bad)} left out")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
