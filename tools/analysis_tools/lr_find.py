#!/usr/bin/env python
"""Find a learning rate: train for some steps while it rises, and draw the loss over it.

    smallvit lr-find configs/dhvt/dhvt-t_folder.py --out lr.png

Two rates are suggested: where the smoothed loss falls fastest, and a tenth of the rate with the
lowest loss. Warm-up and schedule of the config are left out; nothing of the training is kept.
"""

import argparse
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free


def rate(text: str) -> float:
    """A positive learning rate of the command line."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive learning rate")
    return value


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument("--start", type=rate, default=1e-6, help="first rate; default: 1e-6")
    parser.add_argument("--end", type=rate, default=1.0, help="last rate; default: 1")
    parser.add_argument("--num", type=positive, default=100, help="steps; default: 100")
    parser.add_argument(
        "--out", metavar="FILE", default="lr_find.png", help="picture; default: lr_find.png"
    )
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.start >= args.end:
        parser.error(f"--start {args.start:g} is not below --end {args.end:g}")
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
    print(f"steepest fall of the loss  {rates['steepest']:.3g}")
    print(f"a tenth of the lowest      {rates['tenth']:.3g}")
    if current is not None:
        print(f"the config's               {current:.3g}")
    print(f"take one with --cfg-options optim_wrapper.optimizer.lr={rates['steepest']:.3g}")
    save_figure(range_figure(found, current), args.out)
    print(f"drawn: {args.out}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
