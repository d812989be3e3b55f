#!/usr/bin/env python
"""Compare image loading from class folders and from an LMDB store.

Both contain the same files and use the same pipeline. Passes over them alternate in one run; a
first pass of each is not counted, so the page cache is warm. Results are images per second of wall
time and of CPU time per process; the latter is less affected by other load. Without --data, the
images are synthetic.
"""

import argparse
import json
import os.path as osp
import statistics
import sys
import tempfile
from functools import partial

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_override_flags, add_overwrite_flag, positive, require_free

KINDS = ("folder", "lmdb")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "config",
        nargs="?",
        help="config whose training pipeline is used; default: decode, RandomResizedCrop to 224 "
        "with bicubic interpolation, flip",
    )
    parser.add_argument("--data", metavar="FOLDER", help="class folders with your own images")
    parser.add_argument(
        "--images", type=positive, default=500, help="number of images; default: 500"
    )
    parser.add_argument(
        "--size", default="500x375", help="width and height of synthetic images; default: 500x375"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="worker processes; default: 0 (main process)"
    )
    parser.add_argument("--batch-size", type=positive, default=64, help="default: 64")
    parser.add_argument(
        "--repeats", type=positive, default=5, help="passes over each dataset; default: 5"
    )
    parser.add_argument("--json", metavar="OUT", help="also write the results to a file")
    add_overwrite_flag(parser)
    add_override_flags(parser)
    args = parser.parse_args(argv)
    if args.workers < 0:
        parser.error("--workers must not be negative")
    sides = args.size.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        parser.error(f"--size {args.size} is not of the form 500x375")
    args.size = tuple(map(int, sides))
    return args


def make_images(root: str, count: int, size: tuple[int, int]):
    """Write synthetic JPEG files of about the size of ImageNet's."""
    import os

    import cv2
    import numpy as np

    from smallvit.datasets.io.image_lists import list_folder

    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (max(size[1] // 8, 2), max(size[0] // 8, 2), 3))
        smooth = cv2.resize(coarse.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 8, smooth.shape)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        folder = osp.join(root, f"class{number % 10}")
        os.makedirs(folder, exist_ok=True)
        cv2.imwrite(osp.join(folder, f"{number:06d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return list_folder(root)


def choose_images(folder: str, count: int):
    """Select evenly spaced images of a folder, which covers all classes."""
    from smallvit.datasets.io.image_lists import ImageList, list_folder

    images = list_folder(folder)
    step = max(len(images.samples) // count, 1)
    return ImageList(folder, images.samples[::step][:count], images.classes)


def write_store(path: str, images) -> int:
    """Write the store and return the total size of the images in bytes."""
    from smallvit.datasets.lmdb_writer import LMDBWriter

    total = 0
    with LMDBWriter(path, images) as writer:
        for name in writer.resume():
            with open(osp.join(images.root, name), "rb") as file:
                content = file.read()
            writer.add(name, content)
            total += len(content)
        writer.flush()
        writer.finish({})
    return total


def read_pipeline(args: argparse.Namespace) -> list[dict]:
    if args.config is None:
        crop = {"type": "RandomResizedCrop", "scale": 224}
        return [
            {"type": "LoadImageFromFile"},
            {**crop, "backend": "pillow", "interpolation": "bicubic"},
            {"type": "RandomFlip", "prob": 0.5, "direction": "horizontal"},
            {"type": "PackInputs"},
        ]
    from smallvit.engine.pipeline import resolve

    cfg = resolve(args.config, args.cfg_options, ("train_dataloader",), "the benchmark")
    pipeline = cfg.train_dataloader.dataset.get("pipeline") or []
    if not pipeline or pipeline[0].type != "LoadImageFromFile":
        raise UserError(f"{args.config}: its training pipeline does not start by loading files")
    if cfg.get("default_scope") != "mmpretrain":
        raise UserError(f"{args.config} is not a classification config")
    return pipeline


def build_loader(kind: str, images, store: str, pipeline: list[dict], args: argparse.Namespace):
    """Build the data loader of the folder or the store for the same list of images."""
    from mmengine.registry import DATASETS, init_default_scope
    from torch.utils.data import DataLoader

    from smallvit.datasets.io.images import install
    from smallvit.datasets.lmdb_writer import ANNOTATION_FILE

    init_default_scope("mmpretrain")
    install("mmpretrain")
    backend = {"backend": "local"} if kind == "folder" else {"backend": "lmdb", "db_path": store}
    loading = {**pipeline[0], "backend_args": backend}
    dataset = {
        "type": "CustomDataset",
        "ann_file": osp.join(osp.abspath(store), ANNOTATION_FILE),
        "data_prefix": osp.abspath(images.root) if kind == "folder" else "",
        "pipeline": [loading, *pipeline[1:]],
    }
    return DataLoader(
        DATASETS.build(dataset),
        batch_size=args.batch_size,
        collate_fn=list,
        num_workers=args.workers,
        worker_init_fn=use_one_thread,
    )


def use_one_thread(_: int = 0) -> None:
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def check_same(loaders: dict) -> None:
    """Check that files and labels of both loaders are identical."""
    import mmengine.fileio as fileio

    samples = [
        [
            (fileio.get(info["img_path"], backend_args=reader.backend_args), info["gt_label"])
            for info in map(data.get_data_info, range(len(data)))
        ]
        for data in (loader.dataset for loader in loaders.values())
        for reader in data.pipeline.transforms[:1]
    ]
    if samples[0] != samples[1]:
        raise UserError("folder and store contain different images")


def load_all(loader) -> None:
    """Load every image once."""
    count = sum(len(batch) for batch in loader)
    assert count == len(loader.dataset)


def measure(loaders: dict, args: argparse.Namespace) -> dict:
    """Time the data loaders in alternation."""
    from smallvit.analysis.harness import time_interleaved

    passes = {kind: partial(load_all, loader) for kind, loader in loaders.items()}
    # The first pass fills the page cache.
    rounds = time_interleaved(passes, args.repeats, warm_up=1)
    count = len(loaders["folder"].dataset)
    # The CPU time of the workers is measured in the workers.
    shares = {"wall": max(args.workers, 1), "cpu": 1}
    speeds = {
        kind: {
            clock: [count / share / getattr(each[kind], clock) for each in rounds]
            for clock, share in shares.items()
        }
        for kind in passes
    }
    ratios = {
        clock: [b / a for a, b in zip(*(speeds[kind][clock] for kind in KINDS), strict=True)]
        for clock in shares
    }
    return {"images_per_second_and_core": speeds, "lmdb_over_folder": ratios}


def report(results: dict) -> None:
    for clock, name in (("wall", "wall"), ("cpu", "CPU")):
        print(f"\nimages/s per core, {name}{'median':>12}{'min':>10}{'max':>10}")
        width = len("images/s per core, ") + len(name)
        for kind in KINDS:
            speeds = results["images_per_second_and_core"][kind][clock]
            print(f"{kind:{width}}{statistics.median(speeds):12.1f}", end="")
            print(f"{min(speeds):10.1f}{max(speeds):10.1f}")
        ratios = results["lmdb_over_folder"][clock]
        print(f"{'lmdb / folder':{width}}{statistics.median(ratios):12.3f}", end="")
        print(f"{min(ratios):10.3f}{max(ratios):10.3f}")


def main(argv=None) -> int:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)
    pipeline = read_pipeline(args)
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        if args.data:
            images = choose_images(args.data, args.images)
        else:
            images = make_images(osp.join(folder, "images"), args.images, args.size)
        store = osp.join(folder, "images.lmdb")
        size = write_store(store, images)
        loaders = {kind: build_loader(kind, images, store, pipeline, args) for kind in KINDS}
        check_same(loaders)
        count = len(images.samples)
        print(
            f"{count} images of {args.data or 'x'.join(map(str, args.size))}, "
            f"{size / count / 1000:.0f} kB each, {args.workers} workers, batches of "
            f"{args.batch_size}, {args.repeats} passes"
        )
        results = measure(loaders, args)
    report(results)
    if args.json:
        from smallvit.utils.files import write_whole

        write_whole(args.json, json.dumps({"settings": vars(args), **results}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
