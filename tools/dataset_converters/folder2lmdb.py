#!/usr/bin/env python
"""Pack images into an LMDB store for MMEngine's LMDB backend.

Each file is decoded once to check it, and stored unchanged under its path relative to SRC, without
pickles. annotations.txt in the store is its ann_file. Run the same command again to resume after an
interruption; the store appears under its final name only when it is complete.

  SRC with one folder per class, such as data/imagenet/train:
    folder2lmdb.py data/imagenet/train data/imagenet/train.lmdb
  any other layout, with an annotation file with lines "path label" (domainnet_lists.py and
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
    parser.add_argument("src", help="image folder")
    parser.add_argument("dst", help="output store, such as data/imagenet/train.lmdb")
    parser.add_argument("--ann-file", help="list of images; default: class folders")
    parser.add_argument("--classes", help="class names for --ann-file, one per line")
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip invalid images instead of stopping"
    )
    add_workers_flag(parser)
    args = parser.parse_args(argv)
    if args.classes and not args.ann_file:
        parser.error("--classes requires --ann-file: class folders define their names")
    args.src, args.dst = (osp.normpath(path) for path in (args.src, args.dst))
    return args


class WholeFiles:
    """Map-style dataset of the contents of listed files, validated by decoding."""

    def __init__(self, root: str, names: list[str]) -> None:
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, bytes, str | None]:
        """Return name, content and error message (or None) of a file."""
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
        raise UserError(
            f"{args.dst} would be a class folder of {args.src}: choose another location"
        )
    return list_folder(args.src)


def check_present(path: str, digest: str) -> None:
    """Accept an existing store only if it contains the same images."""
    from smallvit.datasets.lmdb_writer import read_meta

    meta = read_meta(path)
    if meta is None:
        raise UserError(
            f"{path} exists and is not a store of this tool: remove it or choose another name"
        )
    if meta["list"] != digest:
        raise UserError(
            f"{path} exists and contains other images: remove it or choose another name"
        )
    print(f"{path} is complete: {meta['images']} images, {meta['skipped']} skipped")


def pack(writer, names: list[str], workers: int) -> dict[str, str]:
    """Store the files and return the error messages of invalid ones."""
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
            print(f"resuming: {len(writer.stored)} of {len(images.samples)} images are stored")
        bad = pack(writer, names, args.workers)
        for name, reason in bad.items():
            print(f"invalid: {osp.join(args.src, name)}: {reason}")
        if bad and not args.skip_bad:
            raise UserError(
                f"{len(bad)} of {len(images.samples)} images are invalid. Fix or remove them and "
                f"run the same command again ({writer.partial} keeps the others), or add --skip-bad"
            )
        if not writer.stored:
            raise UserError(f"{args.src}: no valid image to store")
        writer.finish(bad)
    print(f"{args.dst}: {len(writer.stored)} images, {len(bad)} skipped")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
