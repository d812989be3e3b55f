#!/usr/bin/env python
"""Train any config of smallvit, mmpretrain, mmdet or mmsegmentation."""

import argparse
import sys

from smallvit.cli import UserError, add_runtime_flags, base_parser, run_tool
from smallvit.cli.arguments import export_local_rank


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    add_runtime_flags(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from this checkpoint; without a value, from the latest one in the work dir",
    )
    parser.add_argument(
        "--no-validate", action="store_true", help="do not evaluate during training"
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate by the batch size over auto_scale_lr.base_batch_size",
    )
    return parser.parse_args(argv)


def merge_args(cfg, args: argparse.Namespace) -> None:
    from smallvit.cli import config as configs
    from smallvit.engine.precision import use_amp_training

    configs.require_keys(
        cfg, ("model", "train_cfg", "train_dataloader", "optim_wrapper"), "training"
    )
    cfg.launcher = args.launcher
    configs.set_work_dir(cfg, args.work_dir)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp_training(cfg)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    if args.auto_scale_lr:
        scale_learning_rate(cfg)
    configs.set_loader_defaults(cfg, args)
    configs.merge_overrides(cfg, args.cfg_options)


def scale_learning_rate(cfg) -> None:
    if not (cfg.get("auto_scale_lr") or {}).get("base_batch_size"):
        raise UserError(
            f"--auto-scale-lr needs auto_scale_lr.base_batch_size, which {cfg.filename} does not "
            "set: add auto_scale_lr = dict(base_batch_size=N), N being the batch size that its "
            "learning rate is meant for"
        )
    cfg.auto_scale_lr.enable = True


def main(argv=None) -> None:
    args = parse_args(argv)
    export_local_rank(args)

    from smallvit.cli.config import load_config
    from smallvit.engine.checkpoint.reading import trust_checkpoints
    from smallvit.engine.runs import build_runner, check_weights, no_leftovers, prepare

    cfg = load_config(args.config)
    merge_args(cfg, args)
    trust_checkpoints(args.trust_checkpoint)
    check_weights(cfg)
    prepare(cfg)
    with no_leftovers(cfg.work_dir):
        build_runner(cfg).train()


if __name__ == "__main__":
    sys.exit(run_tool(main))
