#!/usr/bin/env python
"""Read all splits of a dataset and list invalid files.

With a config, the datasets of its data loaders are built as for training, from folders or LMDB
stores. With --folder, the data is a folder of class folders, with or without train/, val/ and test/
(split as in configs/_base_/datasets/folder.py), a table of labels (CSV, as for smallvit train
--data), or a store of folder2lmdb.py.

missing      missing file or key, broken link, class without images or pixels
unreadable   truncated, empty, or not an image
mislabeled  label outside the classes, identical files with two labels, label map of the wrong
             size or with invalid values, object that is not trained on, mismatched name or id
misread      more than 8 bits per value, several pages, transparency or rotation that is lost
             when the file is read; with --channels, another number of bands, or NaN or infinite
             values
left out     image that the dataset does not read because of its file extension
repeated     identical files in two splits

The exit status is 1 if any problem was found.
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
    parser.add_argument("config", nargs="?", help="config file of smallvit or any MM library")
    parser.add_argument(
        "--folder", help="class folders, a table (.csv), or an LMDB store, instead of a config"
    )
    parser.add_argument(
        "--split",
        nargs="+",
        choices=SPLITS,
        help="splits to read; default: all, shared data only once",
    )
    parser.add_argument("--json", metavar="OUT", help="also write the problems to a file")
    add_band_flags(parser)
    add_overwrite_flag(parser)
    add_workers_flag(parser)
    add_override_flags(parser)
    args = parser.parse_args(argv)
    if (args.config is None) == (args.folder is None):
        parser.error("specify either a config or --folder")
    if args.config and args.channels:
        parser.error("--channels requires --folder; a config sets smallvit.LoadImageBands")
    if args.folder and (args.split or args.cfg_options):
        parser.error("--split and --cfg-options require a config")
    return args


def from_config(args: argparse.Namespace) -> tuple[dict, int | None]:
    """Return the datasets of a config and its number of classes."""
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
            print(f"{split}: same data as {same[0]}")
            continue
        datasets[split] = dataset
    if not datasets:
        raise UserError(f"{args.config} defines no dataset")
    return datasets, (cfg.get("data_preprocessor") or {}).get("num_classes")


def from_folder(folder: str, bands=None) -> tuple[dict, None]:
    """Return dataset configs for class folders, a table or a store."""
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
        raise UserError(f"--channels: {folder} is a store, which contains only photographs")
    meta = read_meta(folder)
    if meta is None:
        raise UserError(
            f"{folder} was not written by folder2lmdb.py: specify a config that reads it"
        )
    loader["backend_args"] = {"backend": "lmdb", "db_path": folder}
    dataset = {"type": "CustomDataset", "pipeline": [loader], "classes": meta["classes"]}
    dataset["ann_file"] = osp.join(folder, ANNOTATION_FILE)
    return {osp.basename(osp.normpath(folder)): dataset}, None


def splits_of_table(path: str, loader: dict) -> dict:
    """Return dataset configs for the splits of a table of labels."""
    from smallvit.datasets.formats.table import read_table

    table = read_table(path)
    settings = {"type": "smallvit.LabelTable", "ann_file": path, "pipeline": [loader]}
    tested = any(row.split == "test" for row in table.rows)
    splits = SPLITS if tested else SPLITS[:2]
    return {split: {**settings, "split": split, "classes": list(table.classes)} for split in splits}


def splits_of_folder(folder: str, loader: dict, of_bands: bool) -> dict:
    """Return dataset configs for class folders, as in ``configs/_base_/datasets/folder.py``."""
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
    """Build a dataset, and report a failure as a problem of the data."""
    from mmengine.registry import DATASETS

    from smallvit.datasets.in_memory.settings import outside_memory
    from smallvit.datasets.parts import parts_of

    settings = outside_memory(settings)  # verify the files, not the in-memory copy
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
        raise UserError(f"{split}: {type(parts[0]).__name__} does not provide its files")
    return dataset


def report(results: dict) -> int:
    """Print the problems and return their number."""
    for split, result in results.items():
        for found in result["findings"]:
            print(f"{split}: {found.kind}: {found.path}: {found.reason}")
        counts = Counter(found.kind for found in result["findings"])
        summary = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        print(f"{split}: {result['samples']} samples, {summary or 'no problems'}")
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
