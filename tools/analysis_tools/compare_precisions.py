#!/usr/bin/env python
"""Compare loss and gradient of a random batch in half precision with float32."""

import argparse
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import positive


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument(
        "--size", type=positive, default=224, help="height and width of the images; default: 224"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=2, help="number of images; default: 2"
    )
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)

    from smallvit.analysis.precision import compare_precisions
    from smallvit.engine.pipeline import resolve

    cfg = resolve(args.config, args.cfg_options, ("model", "optim_wrapper"), "comparing")
    found = compare_precisions(cfg, (args.size, args.size), args.batch_size)
    for name, row in found.items():
        print(f"{name}: loss {row['loss']:.1e}, gradient {row['gradient']:.1e}, relative")


if __name__ == "__main__":
    sys.exit(run_tool(main))
