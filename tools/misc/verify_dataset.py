#!/usr/bin/env python
"""Read the data of a training, all splits of it, and list what is wrong with the files.

With a config, the data sets of its loaders are built as a training builds them, from folders
or LMDB stores; with --folder, class folders, in train/, val/ and test/ or all together, are
split as configs/_base_/datasets/folder.py does it, a table of labels (CSV) as smallvit train
--data does it, or a store of folder2lmdb.py is read.

missing      the file or key is not there, a link leads nowhere, a class has no image or pixel
unreadable   truncated, empty, or not an image
mislabelled  a label outside of the classes, the same bytes under two labels, a label map of
             another size or with other values, an object that is not trained, a name or id
             that does not fit
misread      more than 8 bits a value, several pages, transparent or turned pixels: what
             reading the file leaves out; with --channels another number of bands, or values
             that are not finite
left out     an image that the data set does not read, as its ending is another
repeated     the same bytes in two splits

The exit status is 1 if anything was found.
"""

import argparse
import json
import os.path as osp
import sys
from collections import Counter
from dataclasses import asdict

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import (
    add_override_flags,
    add_overwrite_flag,
    add_workers_flag,
    require_free,
)
from smallvit.cli.band_flags import add_band_flags, bands_of
from smallvit.errors import SmallvitError

SPLITS = ("train", "val", "test")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("config", nargs="?", help="config file, of smallvit or any MM library")
    parser.add_argument(
        "--folder", help="instead of a config: class folders, a table (.csv), or an LMDB store"
    )
    parser.add_argument(
        "--split", nargs="+", choices=SPLITS, help="loaders to read; default: all, each data once"
    )
    parser.add_argument("--json", metavar="OUT", help="write what was found to a file too")
    add_band_flags(parser)
    add_overwrite_flag(parser)
    add_workers_flag(parser)
    add_override_flags(parser)
    args = parser.parse_args(argv)
    if (args.config is None) == (args.folder is None):
        parser.error("give a config or --folder, one of the two")
    if args.config and args.channels:
        parser.error("--channels goes with --folder; a config names smallvit.LoadImageBands")
    if args.folder and (args.split or args.cfg_options):
        parser.error("--split and --cfg-options go with a config")
    return args


def from_config(args: argparse.Namespace) -> tuple[dict, int | None]:
    """Find the data sets of a config, and its number of classes."""
    from smallvit.engine.pipeline import resolve

    needs = tuple(f"{split}_dataloader" for split in args.split or ())
    cfg = resolve(args.config, args.cfg_options, needs, "--split")
    use_scope(cfg.get("default_scope", "mmengine"))
    datasets = {}
    for split in args.split or SPLITS:
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
        if dataset is None:
            continue
        same = [name for name, other in datasets.items() if other == dataset]
        if same:
            print(f"{split}: the data of {same[0]}")
            continue
        datasets[split] = dataset
    if not datasets:
        raise UserError(f"{args.config} has no data set")
    return datasets, (cfg.get("data_preprocessor") or {}).get("num_classes")


def from_folder(folder: str, bands=None) -> tuple[dict, None]:
    """Describe class folders or a store as data sets."""
    from smallvit.datasets.formats.table import is_table
    from smallvit.datasets.lmdb_writer import ANNOTATION_FILE, read_meta
    from smallvit.engine.install import install

    if not osp.isdir(folder) and not is_table(folder):
        raise UserError(f"no such folder or table: {folder}")
    install("mmpretrain")
    use_scope("mmpretrain")
    loader = {"type": "LoadImageFromFile"} if bands is None else bands.step()
    if is_table(folder):
        return splits_of_table(folder, loader), None
    if not osp.isfile(osp.join(folder, "data.mdb")):
        return splits_of_folder(folder, loader, bands is not None), None
    if bands is not None:
        raise UserError(f"--channels: {folder} is a store of photographs")
    meta = read_meta(folder)
    if meta is None:
        raise UserError(f"{folder} is a store of another program: give a config that reads it")
    loader["backend_args"] = {"backend": "lmdb", "db_path": folder}
    dataset = {"type": "CustomDataset", "pipeline": [loader], "classes": meta["classes"]}
    dataset["ann_file"] = osp.join(folder, ANNOTATION_FILE)
    return {osp.basename(osp.normpath(folder)): dataset}, None


def splits_of_table(path: str, loader: dict) -> dict:
    """Describe the splits of a table of labels."""
    from smallvit.datasets.formats.table import read_table

    table = read_table(path)
    settings = {"type": "smallvit.LabelTable", "ann_file": path, "pipeline": [loader]}
    tested = any(row.split == "test" for row in table.rows)
    splits = SPLITS if tested else SPLITS[:2]
    return {split: {**settings, "split": split, "classes": list(table.classes)} for split in splits}


def splits_of_folder(folder: str, loader: dict, of_bands: bool) -> dict:
    """Describe the splits of class folders as ``configs/_base_/datasets/folder.py`` reads them."""
    from smallvit.datasets.class_folders import find_classes, split_folders
    from smallvit.datasets.io.bands import BAND_ENDINGS

    try:
        classes, tested = find_classes(folder), "test" in split_folders(folder)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error
    settings = {"type": "smallvit.ClassFolders", "data_root": folder, "pipeline": [loader]}
    if of_bands:
        settings["extensions"] = BAND_ENDINGS
    splits = SPLITS if tested else SPLITS[:2]
    return {split: {**settings, "split": split, "classes": classes} for split in splits}


def use_scope(scope: str) -> None:
    from mmengine.registry import init_default_scope

    init_default_scope(scope)


def build(split: str, settings: dict) -> object:
    """Build a data set; one that cannot be built is what is wrong with it."""
    from mmengine.registry import DATASETS

    from smallvit.datasets.in_memory.settings import outside_memory
    from smallvit.datasets.parts import parts_of

    settings = outside_memory(settings)  # the files are read, not what was kept of them
    try:
        dataset = DATASETS.build(settings)
    except (
        RuntimeError,
        SmallvitError,
        ValueError,
    ) as error:  # folders without images, wrong files
        raise UserError(f"{split}: {error}") from error
    parts = list(parts_of(dataset))
    if not all(hasattr(part, "get_data_info") for part in parts):
        raise UserError(f"{split}: {type(parts[0]).__name__} does not tell its files")
    return dataset


def report(results: dict) -> int:
    """Print what was found; return how much."""
    for split, result in results.items():
        for found in result["findings"]:
            print(f"{split}: {found.kind}: {found.path}: {found.reason}")
        counts = Counter(found.kind for found in result["findings"])
        summary = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        print(f"{split}: {result['samples']} samples, {summary or 'nothing wrong'}")
    return sum(len(result["findings"]) for result in results.values())


def write_json(results: dict, source: str, path: str) -> None:
    from smallvit.utils.files import write_whole

    plain = {
        split: {**result, "findings": [asdict(found) for found in result["findings"]]}
        for split, result in results.items()
    }
    write_whole(path, json.dumps({"source": source, "data": plain}, indent=2))


def main(argv=None) -> int:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)
    bands = bands_of(args)
    described, num_classes = from_folder(args.folder, bands) if args.folder else from_config(args)

    from smallvit.datasets.verification import verify

    datasets = {split: build(split, settings) for split, settings in described.items()}
    results = verify(datasets, args.workers, num_classes)
    count = report(results)
    if args.json:
        write_json(results, args.folder or args.config, args.json)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
