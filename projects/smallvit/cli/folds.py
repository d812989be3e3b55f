"""Cross-validation, ``smallvit train MODEL --data PATH --folds N``."""

from __future__ import annotations

import argparse
import gc
import os.path as osp
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smallvit.cli import own_data
from smallvit.cli.band_flags import bands_of, survey_of
from smallvit.errors import PreemptedError, UserError, about

if TYPE_CHECKING:
    from smallvit.datasets.recognition import OwnData

#: Flags that affect the result of training, in addition to ``--cfg-options``.
DECIDING = (
    *("folds", "fold_seed", "epochs", "batch_size", "image_size", "lr", "pretrained", "freeze"),
    *("seed", "data_layout", "void_id", "amp", "auto_scale_lr"),
)
#: Maximum number of classes in the printed table; larger tables are only written to the file.
PRINTED_CLASSES = 30


def refuse_flags(args: argparse.Namespace) -> None:
    """Reject invalid combinations of the cross-validation flags.

    Args:
        args (argparse.Namespace): Parsed arguments.

    Raises:
        UserError: If the flags are inconsistent.
    """
    if args.folds is None:
        for name in ("fold", "fold_seed"):
            if getattr(args, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag} requires --folds N, the number of folds")
        return
    if args.folds < 2:
        raise UserError(f"--folds {args.folds}: at least 2 folds are required")
    if args.fold is not None and args.fold > args.folds:
        raise UserError(f"--fold {args.fold}: must be between 1 and {args.folds}")
    if "work_dir" in (args.cfg_options or {}):
        raise UserError("each fold has its own work_dir: set their parent folder with --work-dir")
    if args.no_validate:
        raise UserError(
            "--no-validate cannot be used with --folds: folds are evaluated by validation"
        )
    if args.resume not in (None, "auto"):
        raise UserError(
            f"--resume {args.resume}: folds resume automatically from their newest checkpoints; "
            "omit the flag"
        )


def train_folds(
    args: argparse.Namespace,
    argv: Sequence[str] | None,
    train: Callable[[argparse.Namespace], None],
) -> None:
    """Train and evaluate all unfinished folds, and write the summary.

    Args:
        args (argparse.Namespace): Parsed arguments, with ``data`` and ``folds``.
        argv (Sequence[str], optional): Original command-line arguments.
        train (Callable): Function that trains the config given by its arguments.

    Raises:
        UserError: If model, data and flags are incompatible.
    """
    own_data.refuse_beside_data(args)
    work_dir = args.work_dir or f"{own_data.default_work_dir(args)}_{args.folds}-folds"
    paths = _prepare(args, argv, work_dir)
    if args.dry_run:
        return
    from smallvit.apis.training.folds import read_result

    asked = [args.fold] if args.fold else range(1, args.folds + 1)
    for number in asked:
        if read_result(work_dir, number) is not None:
            print(f"== fold {number} of {args.folds}: already finished ==", flush=True)
            continue
        print(f"== fold {number} of {args.folds} ==", flush=True)
        with about(f"fold {number} of {args.folds}"):
            _train_one(args, work_dir, number, paths[number], train)
    _sum_up(work_dir, args.folds)


def _prepare(args: argparse.Namespace, argv: Sequence[str] | None, work_dir: str) -> dict[int, str]:
    """Split the images, write the config of each fold, and print the plan."""
    from smallvit.apis.training import make_plan, write_config
    from smallvit.apis.training.folds import fold_folder, start_or_resume, write_fold_lists

    with tempfile.TemporaryDirectory(prefix="smallvit-folds-") as scratch:
        start_or_resume(work_dir, _settings(args, _recognize(args, scratch, 1)))
    folders = {number: fold_folder(work_dir, number) for number in range(1, args.folds + 1)}
    folds = {number: _recognize(args, folder, number) for number, folder in folders.items()}
    print("\n".join(_data_lines(folds)))
    print(f"  listed in {write_fold_lists(work_dir, folds.values())}", flush=True)
    command = own_data.command_line(argv)
    plan, paths = None, {}
    for number, data in folds.items():
        if plan is None:
            plan, paths[1], found = own_data.settle(args, data, folders[1], command)
            continue
        # Folds differ by one image in size; the derived settings must not differ.
        same = {"epochs": plan.epochs, "batch_size": plan.batch_size, "image_size": plan.size}
        # Mean and deviation of bands are those of the images that the fold trains on.
        survey = plan.survey if args.channels is None else survey_of(args, data)
        other = make_plan(args.config, data, survey, replace(plan.wishes, **same))
        paths[number] = write_config(other, folders[number], command)
    print(
        "\n".join(own_data.plan_lines(plan, f"{paths[1]}, and one for each other fold")), flush=True
    )
    if args.dry_run:
        print("\n".join(own_data.cost_lines(plan, found, 1 if args.fold else args.folds)))
        print("dry run: run the same command without --dry-run to train")
    return paths


def _recognize(args: argparse.Namespace, out: str, number: int) -> OwnData:
    from smallvit.datasets.recognition import Fold, recognize

    fold = Fold(number, args.folds, args.fold_seed or 0)
    return recognize(args.data, out, args.data_layout, args.void_id, fold, bands_of(args))


def _settings(args: argparse.Namespace, first: OwnData) -> dict[str, Any]:
    from smallvit.apis.training.folds import fingerprint
    from smallvit.utils.data_fingerprint import digest_of_sizes

    flags = {name: getattr(args, name) for name in DECIDING}
    if args.channels is not None:  # absent in folds of earlier versions
        flags |= {name: getattr(args, name) for name in ("channels", "bands", "band_axis")}
    return {
        "model": args.config,
        "data": first.root,
        "images": fingerprint(first),
        "image_sizes": digest_of_sizes(first.sample),
        **flags,
        "fold_seed": args.fold_seed or 0,
        "cfg_options": {key: str(value) for key, value in (args.cfg_options or {}).items()},
    }


def _data_lines(folds: dict[int, OwnData]) -> list[str]:
    """Describe the data, and the images and classes of each fold."""
    from smallvit.datasets.usage import class_text

    first = folds[1]
    lines = [first.lines()[0]]
    unit = {"folder": "", "custom-masks": "label maps"}.get(first.form, "objects")
    for number, data in folds.items():
        numbers = f"{data.images['train']} training images, {data.images['val']} validation images"
        lines += [
            f"  fold {number:<4}{numbers}",
            f"           {class_text(data.counts['val'], unit)}",
        ]
    # The last note lists the files of a single fold.
    return [*lines, *(f"  {note}" for note in first.notes[:-1])]


def _train_one(
    args: argparse.Namespace,
    work_dir: str,
    number: int,
    config: str,
    train: Callable[[argparse.Namespace], None],
) -> None:
    from smallvit.apis.training.fold_results import is_trained, measure
    from smallvit.apis.training.folds import fold_folder
    from smallvit.engine.checkpoint.newest import candidates
    from smallvit.engine.work_folder import hold, release

    folder = fold_folder(work_dir, number)
    if not is_trained(folder):
        resume = "auto" if candidates(folder) else None
        # MMEngine caches visualizers by name for the whole process, including their folder.
        options = {**(args.cfg_options or {}), "visualizer.name": osp.abspath(folder)}
        of_fold = {"config": config, "work_dir": folder, "resume": resume, "cfg_options": options}
        try:
            train(argparse.Namespace(**{**vars(args), **of_fold}))
        except PreemptedError as error:
            raise PreemptedError(f"{error}; the command for all folds resumes as well") from error
    gc.collect()  # free the model and data loaders of this fold
    hold(folder)
    try:
        measure(config, folder, args.cfg_options)
    finally:
        release(folder)


def _sum_up(work_dir: str, count: int) -> None:
    from smallvit.apis.training import fold_summary as summaries
    from smallvit.apis.training.folds import read_result

    found = {number: read_result(work_dir, number) for number in range(1, count + 1)}
    results = {number: one for number, one in found.items() if one is not None}
    files = summaries.write_summary(work_dir, results, count)
    whole = list(results.values())
    classes = summaries.class_spreads(whole)
    print(f"\n{len(results)} of {count} folds, each evaluated on its held-out images")
    print("\n".join(summaries.table_lines(summaries.spreads(whole), list(results))))
    if len(classes) <= PRINTED_CLASSES:
        print("\n".join(["", *summaries.class_lines(classes, whole[0]["counted"])]))
    print(f"\nsample standard deviation over the folds (n - 1); {work_dir}: {', '.join(files)}")
    if any("(best epoch)" in one.name for one in summaries.spreads(whole)):
        print("the best epoch is selected on the images it is evaluated on: prefer the last epoch")
    missing = [str(number) for number in found if number not in results]
    if missing:
        print(f"not finished: fold {', '.join(missing)}")
