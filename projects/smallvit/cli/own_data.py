"""Training on a user's own data, ``smallvit train MODEL --data PATH``."""

from __future__ import annotations

import argparse
import os
import os.path as osp
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from smallvit.cli.arguments import natural, positive
from smallvit.cli.band_flags import add_band_flags, bands_of, survey_of
from smallvit.errors import UserError

if TYPE_CHECKING:
    from smallvit.apis.training.estimate import Estimate
    from smallvit.apis.training.plan import Plan
    from smallvit.datasets.recognition import OwnData

#: Flags that require ``--data``, and the corresponding setting in a config.
KEYS = {
    "epochs": "train_cfg.max_epochs",
    "batch_size": "train_dataloader.batch_size",
    "image_size": "the scales of the pipelines",
    "lr": "optim_wrapper.optimizer.lr",
    "pretrained": "load_from, or model.backbone.init_cfg",
    "freeze": "custom_hooks with smallvit.FreezeHook",
    "seed": "randomness.seed",
    "channels": "smallvit.LoadImageBands, with mean and std of the data preprocessor",
    "bands": "bands of smallvit.LoadImageBands",
    "band_axis": "band_axis of smallvit.LoadImageBands",
    "in_memory": "a dataset smallvit.InMemory, as in _base_/datasets/folder_32_in-memory.py",
    "dry_run": "smallvit recipe CONFIG",
    "data_layout": "the datasets",
    "void_id": "smallvit.LoadLabelMap",
    "folds": "the file lists of the datasets",
    "fold": "the file lists of the datasets",
    "fold_seed": "the file lists of the datasets",
}


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for training on your own data.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    own = parser.add_argument_group(
        "own data", "the argument config is then a model: dhvt-t, dwnet-t, pvtv2-b0, ..., timm:NAME"
    )
    own.add_argument(
        "--data",
        metavar="PATH",
        help="class folders, a table of labels (CSV), COCO files, images with label maps, or YOLO, "
        "Pascal VOC or LabelMe annotations; writes a config to the work directory and trains it",
    )
    own.add_argument("--epochs", type=positive, metavar="N", help="default: depends on the data")
    own.add_argument(
        "--batch-size",
        type=_batch,
        metavar="N|auto",
        help="batch size; auto: the largest that fits",
    )
    own.add_argument(
        "--image-size", type=positive, metavar="N", help="default: depends on the data"
    )
    own.add_argument(
        "--lr", type=learning_rate, help="default: from the config, scaled to the batch size"
    )
    own.add_argument(
        "--pretrained",
        nargs="?",
        const="official",
        metavar="FILE",
        help="backbone weights: a file or URL; without a value, those of timm or MMPretrain",
    )
    own.add_argument("--freeze", action="store_true", help="freeze the backbone")
    own.add_argument(
        "--in-memory",
        action="store_true",
        help="load images of up to 64 pixels into memory and augment batches on the device",
    )
    add_band_flags(own)
    own.add_argument("--seed", type=int, help="training seed; does not affect the validation split")
    own.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N")
    own.add_argument(
        "--dry-run",
        action="store_true",
        help="write the config and print the plan without training",
    )
    own.add_argument(
        "--data-layout",
        choices=["folders", "coco", "yolo", "voc", "labelme", "masks", "table"],
        help="data layout, if it is ambiguous",
    )
    own.add_argument("--void-id", type=int, metavar="N", help="label map value of ignored pixels")
    own.add_argument(
        "--folds",
        type=positive,
        metavar="N",
        help="cross-validation: train N folds, each validated on a different part of the training "
        "images, and write a summary; run again to resume",
    )
    own.add_argument(
        "--fold", type=positive, metavar="K", help="train fold K only; default: all folds"
    )
    own.add_argument(
        "--fold-seed", type=natural, metavar="N", help="seed of the split into folds; default: 0"
    )


def _batch(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def learning_rate(text: str) -> float:
    """Parse a learning rate (argparse type).

    Args:
        text (str): Command-line value.

    Returns:
        float: Learning rate.

    Raises:
        argparse.ArgumentTypeError: If it is not above 0 and below 100.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 100:
        raise argparse.ArgumentTypeError(
            f"{text} is not a learning rate between 0 and 100, such as 0.0005"
        )
    return rate


def refuse_without_data(args: argparse.Namespace) -> None:
    """Reject flags that require ``--data`` when a config is trained.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Raises:
        UserError: If such a flag was given.
    """
    for name, key in KEYS.items():
        if getattr(args, name) not in (None, False):
            raise UserError(
                f"--{name.replace('_', '-')} requires --data; for a config, use {key}"
                + (" (--cfg-options)" if "." in key and " " not in key else "")
            )
    if not args.config.endswith(".py") and "::" not in args.config:
        raise UserError(
            f"{args.config} is not a config file; to train a model by name, pass its images with "
            "--data PATH"
        )


def choose_devices(args: argparse.Namespace) -> None:
    """Apply ``--device`` before torch initializes CUDA.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Raises:
        UserError: If the device is invalid or not available.
    """
    if args.device is None:
        return
    found = re.fullmatch(r"cpu|cuda(:(\d+))?", args.device)
    if found is None:
        raise UserError(f"--device {args.device}: must be cpu, cuda or cuda:N")
    if args.launcher != "none":
        raise UserError(
            "--device requires a single process; use CUDA_VISIBLE_DEVICES with a launcher"
        )
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    count = torch.cuda.device_count()
    if args.device != "cpu" and int(found[2] or 0) >= count:
        seen = f"{count} CUDA device{'s'[: count != 1]}" if count else "no CUDA device"
        raise UserError(f"--device {args.device}: torch sees {seen}")
    if found[2]:
        torch.cuda.set_device(int(found[2]))


def write_own_config(args: argparse.Namespace, argv: Sequence[str] | None) -> str | None:
    """Detect the data layout, write a config, and print the plan.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``data``.
        argv (Sequence[str], optional): Original command-line arguments.

    Returns:
        str | None: Path of the config; None for a dry run.

    Raises:
        UserError: If model, data and flags are incompatible.
    """
    refuse_beside_data(args)
    from smallvit.datasets.recognition import recognize
    from smallvit.engine.work_folder import hold

    work_dir = args.work_dir or default_work_dir(args)
    hold(work_dir)
    bands = bands_of(args)
    data = recognize(args.data, work_dir, args.data_layout, args.void_id, bands=bands)
    print("\n".join(data.lines()), flush=True)
    plan, path, found = settle(args, data, work_dir, command_line(argv))
    print("\n".join(plan_lines(plan, path)), flush=True)
    if args.dry_run:
        print("\n".join(cost_lines(plan, found)))
        print(f"dry run: train with smallvit train {shlex.quote(path)} or tools/train.py")
        return None
    return path


def refuse_beside_data(args: argparse.Namespace) -> None:
    """Reject arguments that are incompatible with ``--data``.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``data``.

    Raises:
        UserError: If a launcher or a config file is given.
    """
    if args.launcher != "none":
        raise UserError(
            "--data requires a single process: write the config with --dry-run, and train it with "
            "tools/dist_train.sh"
        )
    if args.config.endswith(".py"):
        raise UserError(
            f"--data requires a model name; {args.config} is a config, whose data is set by "
            f"--cfg-options data_root={args.data}"
        )


def command_line(argv: Sequence[str] | None) -> str:
    """Reconstruct the command line.

    Args:
        argv (Sequence[str], optional): Original command-line arguments.

    Returns:
        str: Shell-quoted arguments.
    """
    return " ".join(map(shlex.quote, sys.argv[1:] if argv is None else argv))


def settle(
    args: argparse.Namespace, data: OwnData, work_dir: str, command: str
) -> tuple[Plan, str, Estimate | None]:
    """Plan a training run and write its config.

    Args:
        args (argparse.Namespace): Parsed arguments.
        data (OwnData): Detected data.
        work_dir (str): Work directory.
        command (str): Command line, written to the first line of the config.

    Returns:
        tuple[Plan, str, Estimate | None]: Plan, path of the config, and the cost of a step for
        ``--batch-size auto`` and ``--dry-run``.
    """
    from smallvit.apis.training import Wishes, make_plan, write_config

    names = ("epochs", "batch_size", "image_size", "lr", "pretrained", "freeze", "seed")
    wishes = Wishes(**{name: getattr(args, name) for name in (*names, "in_memory")})
    survey = survey_of(args, data)
    plan = make_plan(args.config, data, survey, wishes)
    path = write_config(plan, work_dir, command)
    found = None
    if wishes.batch_size == "auto" or args.dry_run:
        found = _estimate(path, plan, args)
    if wishes.batch_size == "auto":
        from smallvit.apis.training.estimate import largest_batch
        from smallvit.apis.training.plan import least_batch

        batch = largest_batch(found, data.images["train"], least_batch(data.form))
        plan = make_plan(args.config, data, survey, replace(wishes, batch_size=batch))
        path = write_config(plan, work_dir, command)
    return plan, path, found


def default_work_dir(args: argparse.Namespace) -> str:
    """Return the default work directory for a model and its data.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``config`` and ``data``.

    Returns:
        str: Path of the directory.
    """
    from smallvit.apis.training.models import SHORT

    return _work_dir(SHORT.get(args.config, args.config), args.data)


def _work_dir(model: str, data: str) -> str:
    stem = osp.splitext(osp.basename(osp.normpath(osp.abspath(data))))[0]
    name = re.sub(r"[^\w.-]+", "_", f"{model}_{stem}".replace(":", "-"))
    return osp.join("work_dirs", name)


def _estimate(path: str, plan: Plan, args: argparse.Namespace) -> Estimate:
    from smallvit.apis.training.estimate import estimate
    from smallvit.engine.pipeline import resolve

    cfg = resolve(path, args.cfg_options)
    return estimate(cfg, (plan.size, plan.size), plan.survey.channels)


def plan_lines(plan: Plan, path: str) -> list[str]:
    """Format a plan for the user.

    Args:
        plan (Plan): Training plan.
        path (str): Path of the config, or a description of several.

    Returns:
        list[str]: Lines of text.
    """
    data = plan.data
    chosen = f"{plan.chosen.name} ({plan.chosen.base})"
    step = f"batch size {plan.batch_size}, {plan.steps} steps per epoch, {plan.epochs} epochs"
    return [
        f"images:     {plan.size} pixels, {plan.survey.note}",
        f"model:      {chosen}, {len(data.classes)} classes",
        *(f"            {note}" for note in plan.notes),
        f"schedule:   {step}, learning rate {plan.lr:g}",
        f"config:     {path}",
    ]


def cost_lines(plan: Plan, found: Estimate, trainings: int = 1) -> list[str]:
    """Format the estimated cost of a plan.

    Args:
        plan (Plan): Training plan.
        found (Estimate): Estimated cost of a step.
        trainings (int): Number of training runs. Defaults to 1.

    Returns:
        list[str]: Lines of text.
    """
    images = plan.data.images["train"] * plan.epochs * trainings
    memory = found.memory(plan.batch_size) / 2**30
    step = found.seconds * plan.batch_size
    hours = found.seconds * images / 3600
    total = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    of = f" for {trainings} runs" if trainings > 1 else ""
    return [
        f"parameters: {found.params / 1e6:.2f} M, {found.flops / 1e9:.2f} GFLOPs per image of "
        f"{found.shape[1]}x{found.shape[0]}",
        f"memory:     about {memory:.1f} GiB on the {found.device}",
        f"time:       about {total}{of} ({step:.2g} s per step, measured; excluding validation)",
    ]
