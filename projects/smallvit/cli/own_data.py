"""``smallvit train MODEL --data PATH``: its flags, the config that it writes, its dry run."""

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

#: Flags that shape the config of own data, and where a config has the setting itself.
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
    "in_memory": "a data set smallvit.InMemory, as in _base_/datasets/folder_32_in-memory.py",
    "dry_run": "smallvit recipe CONFIG",
    "data_layout": "the data sets",
    "void_id": "smallvit.LoadLabelMap",
    "folds": "the lists of the data sets",
    "fold": "the lists of the data sets",
    "fold_seed": "the lists of the data sets",
}


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a training on one's own data.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    own = parser.add_argument_group(
        "own data", "the config is then a model: dhvt-t, dwnet-t, pvtv2-b0, ..., timm:NAME"
    )
    own.add_argument(
        "--data",
        metavar="PATH",
        help="class folders, a table of labels (CSV), COCO files, images with label maps, or what "
        "YOLO, Pascal VOC and LabelMe write; a config for it is written to the work folder, and "
        "trained",
    )
    own.add_argument("--epochs", type=positive, metavar="N", help="default: by the images")
    own.add_argument(
        "--batch-size", type=_batch, metavar="N|auto", help="images of a step; auto: what fits"
    )
    own.add_argument("--image-size", type=positive, metavar="N", help="default: by the images")
    own.add_argument("--lr", type=learning_rate, help="default: the config's, scaled to the batch")
    own.add_argument(
        "--pretrained",
        nargs="?",
        const="official",
        metavar="FILE",
        help="weights of the backbone: a file or an address; without, timm's or MMPretrain's own",
    )
    own.add_argument("--freeze", action="store_true", help="train what follows the backbone alone")
    own.add_argument(
        "--in-memory",
        action="store_true",
        help="read images of up to 64 pixels once, and augment them by the batch on the device",
    )
    add_band_flags(own)
    own.add_argument("--seed", type=int, help="of the training; the split does not depend on it")
    own.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N")
    own.add_argument(
        "--dry-run", action="store_true", help="write the config, print the plan, train nothing"
    )
    own.add_argument(
        "--data-layout",
        choices=["folders", "coco", "yolo", "voc", "labelme", "masks", "table"],
        help="which layout is meant, where the data has several",
    )
    own.add_argument(
        "--void-id", type=int, metavar="N", help="value of label maps for pixels of no class"
    )
    own.add_argument(
        "--folds",
        type=positive,
        metavar="N",
        help="cross-validation: N trainings, each validated on another part of the training "
        "images, and a summary; run again, it goes on with what is not finished",
    )
    own.add_argument(
        "--fold", type=positive, metavar="K", help="train fold K alone; default: one by one"
    )
    own.add_argument(
        "--fold-seed", type=natural, metavar="N", help="of the division into folds; default: 0"
    )


def _batch(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def learning_rate(text: str) -> float:
    """Read a learning rate from the command line.

    Args:
        text (str): What was given.

    Returns:
        float: The rate.

    Raises:
        argparse.ArgumentTypeError: If it is not above 0 and below 100.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 100:
        raise argparse.ArgumentTypeError(f"{text} is no learning rate, such as 0.0005")
    return rate


def refuse_without_data(args: argparse.Namespace) -> None:
    """Refuse flags of own data beside a config, which they would not change.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Raises:
        UserError: If one was given.
    """
    for name, key in KEYS.items():
        if getattr(args, name) not in (None, False):
            raise UserError(
                f"--{name.replace('_', '-')} goes with --data; in a config it is {key}"
                + (" (--cfg-options)" if "." in key and " " not in key else "")
            )
    if not args.config.endswith(".py") and "::" not in args.config:
        raise UserError(
            f"{args.config} is no config file; a model by its name is trained on images that "
            "--data PATH names"
        )


def choose_devices(args: argparse.Namespace) -> None:
    """Hide the devices that ``--device`` does not name, before torch looks for them.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Raises:
        UserError: If there is no such device.
    """
    if args.device is None:
        return
    found = re.fullmatch(r"cpu|cuda(:(\d+))?", args.device)
    if found is None:
        raise UserError(f"--device {args.device}: cpu, cuda or cuda:N")
    if args.launcher != "none":
        raise UserError("--device goes with one process; CUDA_VISIBLE_DEVICES chooses for several")
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
    """Recognize the data, write a config for it, and say what it is.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``data``.
        argv (Sequence[str], optional): The arguments as they were given.

    Returns:
        str | None: The config file; None where nothing is to be trained.

    Raises:
        UserError: If the model, the data and the flags do not go together.
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
        print(f"nothing was trained; smallvit train {shlex.quote(path)} does, or tools/train.py")
        return None
    return path


def refuse_beside_data(args: argparse.Namespace) -> None:
    """Refuse what does not go with ``--data``.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``data``.

    Raises:
        UserError: If there are several processes, or a config file is named.
    """
    if args.launcher != "none":
        raise UserError(
            "--data goes with one process: write the config with --dry-run, and train it with "
            "tools/dist_train.sh"
        )
    if args.config.endswith(".py"):
        raise UserError(
            f"--data goes with the name of a model; {args.config} is a config, whose data is "
            f"--cfg-options data_root={args.data}"
        )


def command_line(argv: Sequence[str] | None) -> str:
    """Write down what was asked for.

    Args:
        argv (Sequence[str], optional): The arguments as they were given.

    Returns:
        str: One line.
    """
    return " ".join(map(shlex.quote, sys.argv[1:] if argv is None else argv))


def settle(
    args: argparse.Namespace, data: OwnData, work_dir: str, command: str
) -> tuple[Plan, str, Estimate | None]:
    """Plan a training, and write its config.

    Args:
        args (argparse.Namespace): Parsed arguments.
        data (OwnData): The data.
        work_dir (str): The work folder.
        command (str): The command, for the config's first line.

    Returns:
        tuple[Plan, str, Estimate | None]: The plan, the config file, and, where the batch or the
        user asks for it, what a step takes.
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
    """Name the work folder of a model and data.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``config`` and ``data``.

    Returns:
        str: The folder.
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
    """Describe a plan for the user.

    Args:
        plan (Plan): The plan.
        path (str): Its config file, or what else is said of it.

    Returns:
        list[str]: Lines.
    """
    data = plan.data
    chosen = f"{plan.chosen.name} ({plan.chosen.base})"
    step = f"{plan.batch_size} images a step, {plan.steps} steps an epoch, {plan.epochs} epochs"
    return [
        f"images:     {plan.size} pixels, {plan.survey.note}",
        f"model:      {chosen}, {len(data.classes)} classes",
        *(f"            {note}" for note in plan.notes),
        f"schedule:   {step}, learning rate {plan.lr:g}",
        f"config:     {path}",
    ]


def cost_lines(plan: Plan, found: Estimate, trainings: int = 1) -> list[str]:
    """Tell what a plan costs.

    Args:
        plan (Plan): The plan.
        found (Estimate): What a step takes.
        trainings (int): How many of them there are. Defaults to 1.

    Returns:
        list[str]: Lines.
    """
    images = plan.data.images["train"] * plan.epochs * trainings
    memory = found.memory(plan.batch_size) / 2**30
    step = found.seconds * plan.batch_size
    hours = found.seconds * images / 3600
    total = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    of = f" for {trainings} trainings" if trainings > 1 else ""
    return [
        f"parameters: {found.params / 1e6:.2f} M, {found.flops / 1e9:.2f} GFLOPs for an image of "
        f"{found.shape[1]}x{found.shape[0]}",
        f"memory:     about {memory:.1f} GiB on the {found.device}",
        f"time:       about {total}{of} ({step:.2g} s a step, measured; without validation)",
    ]
