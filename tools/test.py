#!/usr/bin/env python
"""Test a checkpoint with a config of smallvit, MMPretrain, mmdet or mmseg."""

import argparse
import sys

from smallvit.cli import add_runtime_flags, base_parser, run_tool
from smallvit.cli.arguments import (
    add_overwrite_flag,
    export_local_rank,
    read_as_asked,
    require_free,
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument("checkpoint", help="checkpoint file")
    add_runtime_flags(parser)
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write the predictions (.json; .npz for label maps; .pkl in the format of the MM "
        "libraries) or the metrics (.json, .yaml, .pkl) to a file",
    )
    parser.add_argument(
        "--out-item",
        choices=["metrics", "pred"],
        help="content of --out; default: pred",
    )
    add_overwrite_flag(parser)
    parser.add_argument("--show", action="store_true", help="show the predictions in a window")
    parser.add_argument(
        "--show-dir", metavar="DIR", help="write images with predictions to this folder"
    )
    parser.add_argument("--interval", type=int, help="draw every INTERVAL-th sample; default: 1")
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds to show each window; default: 2"
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation, using tta_model and tta_pipeline of the config if present",
    )
    parser.add_argument(
        "--allow-mismatch",
        action="store_true",
        help="accept a checkpoint with missing or unexpected weights",
    )
    args = parser.parse_args(argv)
    if args.out_item is not None and args.out is None:
        parser.error("--out-item requires --out")
    endings = (".json", ".yaml") if args.out_item == "metrics" else (".json", ".npz")
    endings = (*endings, ".pkl", ".pickle")
    if args.out is not None and not args.out.endswith(endings):
        parser.error(f"--out {args.out}: the file extension must be {', '.join(endings)}")
    return args


def set_flags(cfg, args: argparse.Namespace) -> None:
    from smallvit.cli import config as configs
    from smallvit.cli.testing import enable_drawing, enable_tta
    from smallvit.engine.compiling import use_compilation
    from smallvit.engine.precision import use_amp_testing

    cfg.launcher = args.launcher
    configs.set_work_dir(cfg, args.work_dir)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.amp:
        use_amp_testing(cfg)
    if args.compile:
        use_compilation(cfg, args.compile)
    if args.show or args.show_dir:
        enable_drawing(cfg, args)
    if args.tta:
        enable_tta(cfg)
    configs.set_loader_defaults(cfg, args)


def make_request(args: argparse.Namespace):
    from smallvit.engine.pipeline import Request

    return Request(
        args.config,
        needs=("model", "test_cfg", "test_dataloader", "test_evaluator"),
        purpose="testing",
        set_flags=lambda cfg: set_flags(cfg, args),
        overrides=args.cfg_options,
        checkpoint=args.checkpoint,
    )


def main(argv=None) -> None:
    args = parse_args(argv)
    export_local_rank(args)
    if args.out is not None:
        require_free(args.out, args.overwrite, sources=[args.checkpoint, args.config])

    from smallvit.cli.testing import dump_metrics, dump_predictions
    from smallvit.compat.strict_loading import load_strictly
    from smallvit.engine.pipeline import build, guard, take_steps
    from smallvit.engine.run_log import log_failures

    read_as_asked(args)
    request = make_request(args)
    take_steps(request, last=guard)
    with log_failures(request.cfg.work_dir):
        runner = take_steps(request, first=build).runner
        if not args.allow_mismatch:
            load_strictly(runner)
        if args.out is not None and args.out_item != "metrics":
            dump_predictions(runner, args.out)
        metrics = runner.test()
    if args.out_item == "metrics":
        dump_metrics(metrics, args.out)


if __name__ == "__main__":
    sys.exit(run_tool(main))
