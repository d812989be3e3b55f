#!/usr/bin/env python
"""Train a config of smallvit, MMPretrain, mmdet or mmseg, or a model on your own data."""

import argparse
import sys

from smallvit.cli import UserError, add_runtime_flags, base_parser, folds, own_data, run_tool
from smallvit.cli.arguments import export_local_rank, read_as_asked
from smallvit.cli.log_backends import add_log_flag, log_to


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    add_runtime_flags(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from this checkpoint; without a value, from the newest in the work directory",
    )
    parser.add_argument(
        "--no-validate", action="store_true", help="do not evaluate during training"
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by batch size / auto_scale_lr.base_batch_size",
    )
    add_log_flag(parser)
    own_data.add_data_flags(parser)
    return parser.parse_args(argv)


def set_flags(cfg, args: argparse.Namespace) -> None:
    from smallvit.cli import config as configs
    from smallvit.engine.compiling import use_compilation
    from smallvit.engine.precision import use_amp_training

    cfg.launcher = args.launcher
    configs.set_work_dir(cfg, args.work_dir)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp_training(cfg)
    if args.compile:
        use_compilation(cfg, args.compile)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    if args.auto_scale_lr:
        scale_learning_rate(cfg)
    configs.set_loader_defaults(cfg, args)
    log_to(cfg, args.log_to)


def scale_learning_rate(cfg) -> None:
    if not (cfg.get("auto_scale_lr") or {}).get("base_batch_size"):
        raise UserError(
            f"--auto-scale-lr requires auto_scale_lr.base_batch_size, which {cfg.filename} does "
            "not set: add auto_scale_lr = dict(base_batch_size=N), where N is the batch size for "
            "which the learning rate was chosen"
        )
    cfg.auto_scale_lr.enable = True


def make_request(args: argparse.Namespace):
    from smallvit.engine.pipeline import Request

    return Request(
        args.config,
        needs=("model", "train_cfg", "train_dataloader", "optim_wrapper"),
        purpose="training",
        set_flags=lambda cfg: set_flags(cfg, args),
        overrides=args.cfg_options,
    )


def main(argv=None) -> None:
    args = parse_args(argv)
    export_local_rank(args)
    own_data.choose_devices(args)
    folds.refuse_flags(args)
    if args.data is None:
        own_data.refuse_without_data(args)
    elif args.folds is not None:
        read_as_asked(args)
        folds.train_folds(args, argv, train)
        return
    else:
        args.config = own_data.write_own_config(args, argv)
        if args.config is None:
            return
    read_as_asked(args)
    train(args)


def train(args: argparse.Namespace) -> None:
    from smallvit.engine.pipeline import build, take_folder, take_steps
    from smallvit.engine.run_log import log_failures

    request = make_request(args)
    take_steps(request, last=take_folder)
    with log_failures(request.cfg.work_dir):
        take_steps(request, first=build)
        request.runner.train()


if __name__ == "__main__":
    sys.exit(run_tool(main, preemptible=True))
