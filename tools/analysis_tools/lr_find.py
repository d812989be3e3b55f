#!/usr/bin/env python
"""Learning rate range test: increase the learning rate during some steps and plot the loss.

    smallvit lr-find configs/dhvt/dhvt-t_folder.py --out lr.png

Two learning rates are suggested: the one at which the smoothed loss falls fastest, and a tenth of
the one with the lowest loss. Warm-up and schedule of the config are ignored; the trained weights
are discarded.
"""

import argparse
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free


def rate(text: str) -> float:
    """Parse a positive learning rate (argparse type)."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive learning rate")
    return value


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument(
        "--start", type=rate, default=1e-6, help="lowest learning rate; default: 1e-6"
    )
    parser.add_argument("--end", type=rate, default=1.0, help="highest learning rate; default: 1")
    parser.add_argument("--num", type=positive, default=100, help="number of steps; default: 100")
    parser.add_argument(
        "--out", metavar="FILE", default="lr_find.png", help="output plot; default: lr_find.png"
    )
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.start >= args.end:
        parser.error(f"--start {args.start:g} must be less than --end {args.end:g}")
    return args


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.out, args.overwrite, sources=[args.config])

    from mmengine.utils import ProgressBar

    from smallvit.analysis.figures import save_figure
    from smallvit.analysis.lr_range import range_figure, range_test
    from smallvit.engine.pipeline import resolve

    needs = ("model", "train_dataloader", "optim_wrapper")
    cfg = resolve(args.config, args.cfg_options, needs, "the range test")
    bar = ProgressBar(args.num)
    found = range_test(cfg, args.start, args.end, args.num, lambda done: bar.update())
    print()
    current = cfg.optim_wrapper.get("optimizer", {}).get("lr")
    rates = found.suggestions()
    if found.diverged:
        print(f"the loss diverged at {found.rates[-1]:.3g}, after {len(found.rates)} steps")
    print(f"steepest descent     {rates['steepest']:.3g}")
    print(f"minimum / 10         {rates['tenth']:.3g}")
    if current is not None:
        print(f"current config       {current:.3g}")
    print(f"set it with --cfg-options optim_wrapper.optimizer.lr={rates['steepest']:.3g}")
    save_figure(range_figure(found, current), args.out)
    print(f"plot: {args.out}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
