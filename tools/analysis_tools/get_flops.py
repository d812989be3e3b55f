#!/usr/bin/env python
"""Count parameters and FLOPs of a config (one multiply-add counts as one FLOP)."""

import argparse
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import positive


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument(
        "--shape",
        type=int,
        nargs="+",
        metavar="PIXELS",
        help="height and width of the input, or one number for both; default: the size used in "
        "published results, 224 224 (classification), 800 1280 (detection), 512 2048 "
        "(segmentation)",
    )
    parser.add_argument(
        "--depth", type=positive, default=3, help="depth of the module table; default: 3"
    )
    args = parser.parse_args(argv)
    if args.shape is not None:
        if len(args.shape) > 2 or min(args.shape) < 1:
            parser.error(f"--shape {args.shape}: must be one or two positive numbers")
        args.shape = (args.shape[0], args.shape[-1])
    return args


def main(argv=None) -> None:
    args = parse_args(argv)

    from smallvit.analysis.complexity import complexity
    from smallvit.engine.pipeline import resolve

    cfg = resolve(args.config, args.cfg_options, ("model",), "counting")
    found = complexity(cfg, args.shape, args.depth)
    print(found["table"])
    print(f"{found['task']}, input {found['shape'][0]} x {found['shape'][1]}")
    print(f"parameters: {found['params'] / 1e6:.4g}M")
    print(f"FLOPs: {found['flops'] / 1e9:.4g}G")
    if found["uncounted"]:
        names = ", ".join(f"{name} ({count}x)" for name, count in found["uncounted"].items())
        print(f"not counted: {names}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
