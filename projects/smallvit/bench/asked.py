"""Conversion of command-line arguments to settings, and their checks against the data."""

from __future__ import annotations

import argparse
import os.path as osp
from collections.abc import Sequence
from typing import Any

from smallvit.bench.methods import PRETRAININGS, SMALL, Method
from smallvit.bench.recipe import DIGITS
from smallvit.bench.settings import BenchSettings
from smallvit.bench.sizes import PUBLISHED, TARGETS
from smallvit.bench.tasks import CLASSIFICATION, TASKS
from smallvit.errors import UserError


def make_settings(
    args: argparse.Namespace, size: int, task: str = CLASSIFICATION, prepared: str = ""
) -> BenchSettings:
    """Collect the settings that must not change when a bench is resumed.

    Args:
        args (argparse.Namespace): Command-line arguments.
        size (int): Height and width of the images.
        task (str): Task of the dataset. Defaults to "classification".
        prepared (str): Folder with converted data of other tasks. Defaults to "".

    Returns:
        BenchSettings: Settings of the bench.
    """
    dense = task != CLASSIFICATION
    budget, amount = "minutes", args.budget_minutes
    for name in ("iters", "epochs"):
        if getattr(args, name) is not None:
            budget, amount = name, getattr(args, name)
    usual = task if dense else "small" if size <= SMALL else "large"
    sizes, target = "params", args.params or TARGETS[usual]
    if args.flops:
        sizes, target = "flops", args.flops
    elif args.as_published:
        sizes, target = PUBLISHED, 0.0
    return BenchSettings(
        args.data if args.data == DIGITS else osp.abspath(args.data),
        size,
        args.batch_size or TASKS[task].batch,
        not args.no_flip and args.data != DIGITS,
        budget,
        amount,
        sizes,
        target,
        args.schedule,
        not args.no_lr_search,
        osp.abspath(args.unlabeled) if args.unlabeled else "",
        args.pretraining_share,
        task,
        prepared if dense else "",
        args.val_per_class or 0,
        args.void_id,
    )


def check_out(args: argparse.Namespace, out: str) -> None:
    """Check that the plots in the output folder would not become images of the bench.

    Args:
        args (argparse.Namespace): Command-line arguments.
        out (str): Output folder.

    Raises:
        UserError: If it lies in the folder of unlabeled images, or in one whose subfolders are
            classes.
    """
    if args.unlabeled and _is_inside(out, args.unlabeled):
        raise UserError(
            f"--out {out}: lies in --unlabeled {args.unlabeled}, so that its plots would be used "
            "for pretraining; set --out to a folder outside"
        )
    unsplit = args.data != DIGITS and osp.isdir(args.data)
    unsplit = unsplit and not osp.isdir(osp.join(args.data, "train"))
    if unsplit and _is_inside(out, args.data):
        raise UserError(
            f"--out {out}: lies in --data {args.data}, whose subfolders are part of the dataset; "
            "set --out to a folder outside"
        )


def _is_inside(path: str, folder: str) -> bool:
    root = osp.realpath(folder)
    return osp.commonpath([root, osp.realpath(path)]) == root


def check_unlabeled(args: argparse.Namespace, methods: Sequence[Method]) -> None:
    """Check that the folder of unlabeled images exists and a method uses it.

    Args:
        args (argparse.Namespace): Command-line arguments.
        methods (Sequence[Method]): Methods to compare.

    Raises:
        UserError: If it does not exist, or no method uses it.
    """
    path = args.unlabeled
    if not path:
        return
    if args.data == DIGITS:
        raise UserError(f"--unlabeled {path}: --data {DIGITS} does not use additional images")
    if not osp.isdir(path):
        raise UserError(f"--unlabeled {path}: no such folder")
    if not any(method.pretraining for method in methods):
        listed = ", ".join(f"+{name}" for name in PRETRAININGS)
        raise UserError(f"--unlabeled {path}: no method uses unlabeled images; {listed} do")


def check_samples(asked: Sequence[str], data: dict) -> list[int | None]:
    """Check that every class has as many images as requested.

    Args:
        asked (Sequence[str]): Images per class, or ``all``.
        data (dict): Description of the dataset.

    Returns:
        list[int | None]: Images per class in ascending order, with None for all at the end.

    Raises:
        UserError: If a class has too few images (the message names it), or the images may have
            several labels.
    """
    if data.get("task", CLASSIFICATION) != CLASSIFICATION and list(asked) != ["all"]:
        raise UserError(
            f"--samples-per-class {' '.join(asked)}: not available for detection and "
            "segmentation, because images have no single class: omit the flag"
        )
    counts = data["counts"]["train"]
    fewest = min(range(len(counts)), key=counts.__getitem__)
    numbers = sorted({int(each) for each in asked if each != "all"})
    if numbers and data.get("several"):
        raise UserError(
            f"--samples-per-class {numbers[-1]}: images of this table may have several labels, so "
            "subsets per class are not defined: omit the flag"
        )
    if numbers and numbers[-1] > counts[fewest]:
        raise UserError(
            f"--samples-per-class {numbers[-1]}: class {data['classes'][fewest]!r} has only "
            f"{counts[fewest]} training images"
        )
    return [*numbers, *([None] if "all" in asked else [])]


def limit_validation(data: dict[str, Any], number: int) -> None:
    """Limit the validation images in the description of a dataset.

    Args:
        data (dict): Description of the dataset, changed in place.
        number (int): Validation images per class.

    Raises:
        UserError: If the validation images are also the test images, may have several labels, or
            a class has fewer.
    """
    task = data.get("task", CLASSIFICATION)
    reason = ""
    if task != CLASSIFICATION:
        reason = f"images for {task} have no classes by which a subset could be drawn"
    elif data.get("several"):
        reason = "images of this table may have several labels"
    elif data["same_images"]:
        reason = "the dataset has no test images, so the validation images are used for testing"
    if reason:
        raise UserError(f"--val-per-class {number}: {reason}; omit the flag")
    counts = data["counts"]["val"]
    fewest = min(range(len(counts)), key=counts.__getitem__)
    if number > counts[fewest]:
        raise UserError(
            f"--val-per-class {number}: class {data['classes'][fewest]!r} has only "
            f"{counts[fewest]} validation images"
        )
    data["counts"]["val"] = [number] * len(counts)
    data["images"]["val"] = number * len(counts)
    data["selected_on"] = f"{number} images of each class of {data['selected_on']}"
