#!/usr/bin/env python
"""Read a whole data set and list every missing, truncated or mislabelled file.

With a config, the data sets of its loaders are read as a training would read them, from
folders or LMDB stores; with --folder, class folders or a store of folder2lmdb.py.

missing      the file or key is not there, or a class has no image
unreadable   truncated, empty, or not an image
mislabelled  a label outside of the classes, the same bytes under two labels, a label map of
             another size or with other values, a box outside of its image, an unknown category

The exit status is 1 if anything was found.
"""

import argparse
import json
import os.path as osp
import sys
from collections import Counter
from dataclasses import asdict

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_override_flags, add_workers_flag

SPLITS = ("train", "val", "test")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("config", nargs="?", help="config file, of smallvit or any MM library")
    parser.add_argument("--folder", help="instead of a config: class folders, or an LMDB store")
    parser.add_argument(
        "--split", nargs="+", choices=SPLITS, help="loaders to read; default: all, each data once"
    )
    parser.add_argument("--json", metavar="OUT", help="write what was found to a file too")
    add_workers_flag(parser)
    add_override_flags(parser)
    args = parser.parse_args(argv)
    if (args.config is None) == (args.folder is None):
        parser.error("give a config or --folder, one of the two")
    if args.folder and (args.split or args.cfg_options):
        parser.error("--split and --cfg-options go with a config")
    return args


def from_config(args: argparse.Namespace) -> tuple[dict, int | None, str]:
    """Find the data sets of a config, its number of classes and its library."""
    from smallvit.engine.pipeline import resolve

    needs = tuple(f"{split}_dataloader" for split in args.split or ())
    cfg = resolve(args.config, args.cfg_options, needs, "--split")
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
    num_classes = (cfg.get("data_preprocessor") or {}).get("num_classes")
    return datasets, num_classes, cfg.get("default_scope", "mmengine")


def from_folder(folder: str) -> tuple[dict, None, str]:
    """Describe class folders or a store as a data set."""
    from smallvit.datasets.lmdb_writer import ANNOTATION_FILE, read_meta

    if not osp.isdir(folder):
        raise UserError(f"no such folder: {folder}")
    loader = {"type": "LoadImageFromFile"}
    dataset = {"type": "CustomDataset", "pipeline": [loader]}
    if osp.isfile(osp.join(folder, "data.mdb")):
        meta = read_meta(folder)
        if meta is None:
            raise UserError(f"{folder} is a store of another program: give a config that reads it")
        loader["backend_args"] = {"backend": "lmdb", "db_path": folder}
        dataset.update(ann_file=osp.join(folder, ANNOTATION_FILE), classes=meta["classes"])
    else:
        dataset["data_root"] = folder
    return {osp.basename(osp.normpath(folder)): dataset}, None, "mmpretrain"


def build_parts(split: str, settings: dict) -> list:
    """Build a data set; return those that it is made of."""
    from mmengine.registry import DATASETS

    from smallvit.datasets.sample_checks import parts_of

    try:
        parts = list(parts_of(DATASETS.build(settings)))
    except RuntimeError as error:  # folders without images
        raise UserError(f"{split}: {error}") from error
    if not all(hasattr(part, "get_data_info") for part in parts):
        raise UserError(f"{split}: {type(parts[0]).__name__} does not tell its files")
    return parts


def verify(datasets: dict, num_classes: int | None, scope: str, workers: int) -> dict:
    """Read the data sets; return the number of samples and the findings of each."""
    from mmengine.registry import init_default_scope

    from smallvit.datasets.coco_checks import check_annotations
    from smallvit.datasets.io import images
    from smallvit.datasets.sample_checks import Contents, check_samples

    init_default_scope(scope)
    images.install(scope)
    contents, results = Contents(), {}
    built = {split: build_parts(split, settings) for split, settings in datasets.items()}
    for split, parts in built.items():
        count = sum(map(len, parts))
        print(f"{split}: {count} samples", flush=True)
        findings = []
        for part in parts:
            findings += check_annotations(part)
            findings += check_samples(part, workers, contents, num_classes)
        results[split] = {"samples": count, "findings": findings}
    return results


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
    described = from_folder(args.folder) if args.folder else from_config(args)
    results = verify(*described, args.workers)
    count = report(results)
    if args.json:
        write_json(results, args.folder or args.config, args.json)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
