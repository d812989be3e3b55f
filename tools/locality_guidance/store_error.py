#!/usr/bin/env python
"""Measure the error of stored features relative to the teacher on the same augmented images.

The config is a guided config with guidance.store and guidance.teacher with its checkpoint. The
error is the root mean squared difference of the feature maps divided by the root mean square of the
teacher's.
"""

import argparse
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import add_device_flag, choose_device, positive


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument("--batches", type=positive, default=8, help="number of batches; default: 8")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of sampling and augmentation; default: 0"
    )
    add_device_flag(parser)
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)

    from smallvit.engine.pipeline import resolve
    from smallvit.plugins.locality_guidance.store_error import store_error

    needs = ("model", "train_dataloader")
    cfg = resolve(args.config, args.cfg_options, needs, "comparing")
    errors = store_error(cfg, args.batches, choose_device(args.device), args.seed)
    for stage, error in enumerate(errors):
        print(f"stage {stage}: {error:.3f}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
