#!/usr/bin/env python
"""Compare data loading speed for small images: in memory, per image, and timm.

Each variant converts stored images to normalized float32 batches, in alternation on the same
images: smallvit.InMemory with its preprocessor, the same pipeline per image with MMPretrain's
preprocessor, and timm's transforms with torch's collation. Results are images per second of CPU
time, which is less affected by other load than wall time (in parentheses): medians over the rounds.
"""

import argparse
import json
import sys

from smallvit.cli import run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WAYS = ("in memory", "per image", "timm")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("--images", type=positive, default=2048, help="default: 2048")
    parser.add_argument(
        "--size", type=positive, default=32, help="image size in pixels; default: 32"
    )
    parser.add_argument("--batch", type=positive, default=128, help="default: 128")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads; default: 1")
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def pipelines(size: int) -> dict[str, list[dict]]:
    """Return the measured pipelines, which are those of our CIFAR configs."""
    crop = dict(type="RandomCrop", crop_size=size, padding=size // 8)
    flip = dict(type="RandomFlip", prob=0.5, direction="horizontal")
    augment = dict(
        type="smallvit.RandAugment",
        policy="rand-m9-mstd0.5-inc1",
        channel_order="rgb",
        fill=MEAN,
        interpolation="bicubic",
    )
    erase = dict(type="smallvit.RandomErasing", channel_order="rgb", mean=MEAN, std=STD)
    pack = dict(type="PackInputs")
    return {
        "crop, flip": [crop, flip, pack],
        "crop, flip, RandAugment, erasing": [crop, flip, augment, erase, pack],
    }


def store(folder: str, count: int, size: int) -> None:
    """Write enlarged and colored images of digits as a dataset."""
    import os

    import numpy as np
    from PIL import Image

    from smallvit.datasets.digits import load_digit_images

    digits, labels = load_digit_images()
    draw = np.random.default_rng(0)
    for number in range(count):
        which = number % len(digits)
        color = draw.uniform(0.3, 1, 3)
        image = Image.fromarray(digits[which]).resize((size, size), Image.Resampling.BICUBIC)
        path = os.path.join(folder, str(labels[which]))
        os.makedirs(path, exist_ok=True)
        colored = (np.asarray(image)[..., None] * color).astype(np.uint8)
        Image.fromarray(colored).save(os.path.join(path, f"{number}.bmp"))


def build(folder: str, steps: list[dict], args: argparse.Namespace) -> tuple[dict, int]:
    """Build the variants of one pipeline, each for one pass, and return the number of images."""
    import torch
    from mmengine.dataset import Compose, default_collate
    from mmpretrain.registry import TRANSFORMS
    from timm.data import create_transform
    from timm.data.auto_augment import posterize
    from torch.utils.data import DataLoader
    from torchvision import transforms

    from smallvit.datasets.in_memory.batches import collate_in_memory
    from smallvit.datasets.transforms.rand_augment import _posterize
    from smallvit.registry import DATASETS, MODELS

    data = dict(of="smallvit.ClassFolders", data_root=folder, held_out=1e-6)
    memory = DATASETS.build(
        dict(
            type="smallvit.InMemory",
            pipeline=[dict(type="LoadImageFromFile", imdecode_backend="pillow"), *steps],
            cache=False,
            **data,
        )
    )
    normalization = dict(mean=MEAN, std=STD, num_classes=10)
    ours = MODELS.build(dict(type="smallvit.AugmentingPreprocessor", **normalization))
    theirs = MODELS.build(dict(type="mmpretrain.ClsDataPreprocessor", **normalization))
    arrays = memory.images.pixels.transpose(0, 2, 3, 1).copy()
    infos = [memory.get_data_info(index) for index in range(len(memory))]
    single = Compose([TRANSFORMS.build(dict(step)) for step in steps])
    augmented = len(steps) > 3
    other = create_transform(
        args.size,
        is_training=True,
        no_aug=not augmented,
        auto_augment="rand-m9-mstd0.5-inc1" if augmented else None,
        interpolation="bicubic",
        re_prob=0.25 if augmented else 0.0,
        mean=[value / 255 for value in MEAN],
        std=[value / 255 for value in STD],
    )
    # Use timm's crop for small images instead of its resized crop.
    start = [
        transforms.RandomCrop(args.size, padding=args.size // 8),
        transforms.RandomHorizontalFlip(),
    ]
    kept = [one for one in other.transforms if "Crop" not in type(one).__name__]
    kept = [one for one in kept if type(one).__name__ not in ("RandomHorizontalFlip", "Resize")]
    for one in (one for step in kept for one in getattr(step, "ops", ())):
        if one.aug_fn is posterize:  # Pillow 13 rejects 0 bits
            one.aug_fn = _posterize
    other = transforms.Compose([*start, *kept])

    class Single(torch.utils.data.Dataset):
        def __init__(self, load):
            self.load = load

        def __len__(self):
            return len(arrays)

        def __getitem__(self, index):
            return self.load(index)

    def mm(index: int):
        return single(dict(infos[index], img=arrays[index].copy(), img_shape=arrays.shape[1:3]))

    def timm(index: int):
        from PIL import Image

        return other(Image.fromarray(arrays[index])), infos[index]["gt_label"]

    def loader(dataset, collate):
        return DataLoader(dataset, args.batch, shuffle=True, collate_fn=collate)

    def take(batches, preprocessor=None) -> None:
        for batch in batches:
            if preprocessor is not None:
                preprocessor(batch, True)

    ways = {
        "in memory": lambda: take(loader(memory, collate_in_memory), ours),
        "per image": lambda: take(loader(Single(mm), default_collate), theirs),
        "timm": lambda: take(loader(Single(timm), None)),
    }
    return ways, len(arrays)


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)

    import tempfile

    import torch
    from mmengine.registry import init_default_scope

    from smallvit.analysis.attention_timing import describe_processor
    from smallvit.analysis.harness import time_interleaved
    from smallvit.analysis.training_parts import median_timing
    from smallvit.utils.files import write_whole

    torch.set_num_threads(args.threads)
    init_default_scope("mmpretrain")
    print(
        f"{describe_processor()}, {args.threads} threads, torch {torch.__version__}: {args.images} "
        f"images of {args.size}x{args.size}, batches of {args.batch}; images per second of CPU "
        "time (of the clock)"
    )
    print(f"{'':34}" + "".join(f"{way:>20}" for way in WAYS))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store(folder, args.images, args.size)
        for name, steps in pipelines(args.size).items():
            calls, count = build(folder, steps, args)
            timing = median_timing(time_interleaved(calls, args.rounds, warm_up=1))
            found[name] = {
                way: {clock: count / spent for clock, spent in clocks.items()}
                for way, clocks in timing.items()
            }
            speeds = (found[name][way] for way in WAYS)
            shown = "".join(f"{one['cpu']:12,.0f} ({one['wall']:,.0f})".rjust(20) for one in speeds)
            print(f"{name:34}{shown}", flush=True)
    if args.json:
        write_whole(args.json, json.dumps({"settings": vars(args), "speeds": found}, indent=2))


if __name__ == "__main__":
    sys.exit(run_tool(main))
