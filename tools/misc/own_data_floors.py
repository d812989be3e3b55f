#!/usr/bin/env python
"""Train on three public datasets with the commands for own data, and print the test metrics.

The archives contain class folders (cifar10/{train,test}/CLASS), COCO files with masks
(nuclei/{train,val}.json, tested on val) and label maps (camvid/{images,annotations}/
{train,val,test}, 11 is void). For each seed, `smallvit train MODEL --data PATH` trains from
scratch, for a few minutes on two CPU cores (--long: for the default number of epochs), and
`smallvit test` evaluates the last checkpoint. --formats adds nuclei as YOLO, Pascal VOC and LabelMe
files, which are converted from the COCO file. Finished runs are kept and interrupted ones resumed.
--quick is a smoke test with one epoch of a few images.
"""

import argparse
import json
import os
import os.path as osp
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field

from smallvit.cli import UserError, run_tool, tool_parser

PER_CLASS = 200
QUICK = ["--epochs", "1", "--batch-size", "2", "--image-size"]
QUICK_IMAGES = 8
FEW = ["--cfg-options", *(f"{one}_dataloader.dataset.indices=8" for one in ("train", "test"))]


@dataclass
class Task:
    """A row of the table."""

    name: str
    model: str
    folder: str
    metric: str
    short: str
    flags: list = field(default_factory=list)
    size: str = "64"


# Small batches, so that short runs have enough steps, at the learning rate of the configs.
SHORT = "--epochs {} --batch-size {} --lr 0.0005"
NUCLEI = SHORT.format(2, 4) + " --image-size 128"
TASKS = {
    "cifar10": Task(
        *("CIFAR-10, 200 a class", "pvtv2-b0", "cifar10_200", "accuracy/top1"),
        SHORT.format(12, 32),
        size="32",
    ),
    "nuclei": Task("nuclei, masks", "pvtv2-b0", "nuclei", "coco/segm_mAP_50", NUCLEI),
    "camvid": Task(
        *("CamVid", "pvtv2-b0", "camvid", "mIoU"),
        SHORT.format(4, 4) + " --image-size 96",
        ["--void-id", "11"],
    ),
}
FORMATS = {"yolo": "coco/segm_mAP_50", "voc": "coco/bbox_mAP_50", "labelme": "coco/segm_mAP_50"}


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("cifar10", help="cifar10_jpg.tar.gz")
    parser.add_argument("nuclei", help="nuclei_coco.tar.gz")
    parser.add_argument("camvid", help="camvid11.tar.gz")
    parser.add_argument(
        "--out", default="work_dirs/floors", help="folder for data and work directories"
    )
    parser.add_argument("--only", nargs="+", choices=list(TASKS), help="subset of the datasets")
    parser.add_argument(
        "--long", action="store_true", help="train for the default number of epochs"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--formats", action="store_true", help="also train nuclei as YOLO, VOC, LabelMe"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smoke test: one epoch of a few small images"
    )
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    tasks = {name: TASKS[name] for name in args.only or TASKS}
    for name in tasks:
        unpack(getattr(args, name), osp.join(args.out, "data"), name)
    if "cifar10" in tasks:
        take_some(osp.join(args.out, "data"), QUICK_IMAGES if args.quick else PER_CLASS)
    if args.formats and "nuclei" in tasks:
        for kind, metric in FORMATS.items():
            folder = write_as(kind, osp.join(args.out, "data"))
            name = f"nuclei as {kind}"
            tasks[name] = Task(name, TASKS["nuclei"].model, folder, metric, NUCLEI)
    rows = [row(args, task, seed) for task in tasks.values() for seed in args.seeds]
    print(f"\n{'data':<28}{'model':<12}{'seed':>4}  {'metric':<20}{'reached':>8}{'minutes':>9}")
    for task, seed, reached, minutes in rows:
        print(
            f"{task.name:<28}{task.model:<12}{seed:>4}  {task.metric:<20}{reached:>8.3f}"
            f"{minutes:>9.0f}"
        )


def unpack(archive: str, folder: str, name: str) -> None:
    if osp.isdir(osp.join(folder, name)):
        return
    if not osp.isfile(archive):
        raise UserError(f"{archive} does not exist")
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    if not osp.isdir(osp.join(folder, name)):
        raise UserError(f"{archive} contains no folder {name}")


def take_some(folder: str, count: int) -> None:
    """Link the first training images of each class, and all test images."""
    for split, number in (("train", count), ("test", count if count < PER_CLASS else None)):
        source = osp.join(folder, "cifar10", split)
        for name in sorted(os.listdir(source)):
            target = osp.join(folder, "cifar10_200", split, name)
            os.makedirs(target, exist_ok=True)
            for image in sorted(os.listdir(osp.join(source, name)))[:number]:
                if not osp.lexists(osp.join(target, image)):
                    os.symlink(osp.abspath(osp.join(source, name, image)), osp.join(target, image))


def write_as(kind: str, folder: str) -> str:
    out = f"nuclei_{kind}"
    if osp.isdir(osp.join(folder, out)):
        return out
    tool = osp.join(osp.dirname(__file__), "../dataset_converters/coco2labels.py")
    for split in ("train", "val"):
        source = osp.join(folder, "nuclei", split)
        argv = [f"{source}.json", source, osp.join(folder, out), "--format", kind]
        subprocess.run([sys.executable, tool, *argv, "--split", split], check=True)
    return out


def row(args: argparse.Namespace, task: Task, seed: int) -> tuple:
    data = osp.join(args.out, "data", task.folder)
    work_dir = osp.join(args.out, f"{task.folder}_{task.model}_{seed}")
    config = osp.join(work_dir, f"{osp.basename(work_dir)}.py")
    measured = osp.join(work_dir, "measured.json")
    began = time.time()
    if not osp.exists(measured):
        argv = [task.model, "--data", data, "--work-dir", work_dir, "--seed", str(seed)]
        argv += [*task.flags, "--no-validate", "--resume", *length(args, task)]
        smallvit("train", *argv)
        smallvit("test", config, last_of(work_dir), "--out", measured, "--out-item", "metrics")
        with open(osp.join(work_dir, "minutes.json"), "w") as file:
            json.dump((time.time() - began) / 60, file)
    with open(measured) as file:
        reached = json.load(file)[task.metric]
    with open(osp.join(work_dir, "minutes.json")) as file:
        return task, seed, reached, json.load(file)


def length(args: argparse.Namespace, task: Task) -> list[str]:
    if args.quick:
        few = [] if task.folder == "cifar10_200" else FEW
        return [*QUICK, task.size, *few]
    return [] if args.long else task.short.split()


def last_of(work_dir: str) -> str:
    with open(osp.join(work_dir, "last_checkpoint")) as file:
        return osp.join(work_dir, osp.basename(file.read().strip()))


def smallvit(*argv: str) -> None:
    subprocess.run([sys.executable, "-m", "smallvit", *argv], check=True)


if __name__ == "__main__":
    sys.exit(run_tool(main))
