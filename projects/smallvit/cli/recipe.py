"""Print the training recipe of a config: schedule, optimizer, initialization, data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from smallvit.cli.arguments import add_overwrite_flag, base_parser, require_free
from smallvit.utils.files import write_whole

DESCRIPTION = """Print the training recipe of a config, measured on the built objects: the model is
built and initialized, the parameter groups are created, the schedulers are stepped through the
whole training, and each augmentation is applied to a stored image."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit recipe``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = base_parser(DESCRIPTION)
    parser.add_argument(
        "--compare", metavar="CONFIG", help="print the differences from this config"
    )
    parser.add_argument("--out", metavar="FILE", help="plot the learning rate, such as curve.png")
    parser.add_argument("--json", metavar="FILE", help="write the recipe as JSON")
    add_overwrite_flag(parser)
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="number of training images; default: the published number, or that of the data",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the initial weights; default: 0"
    )
    args = parser.parse_args(argv)
    if args.images is not None and args.images < 1:
        parser.error(f"--images {args.images}: must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit recipe``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.
    """
    args = parse_args(argv)
    for path in (args.out, args.json):
        require_free(path, args.overwrite, sources=[args.config])

    from smallvit.analysis.recipe.report import ASSUMED, as_text, differences, recipe

    cfg = _read(args.config, args.cfg_options)
    found = recipe(cfg, args.images, args.seed)
    configs = {args.config: cfg}
    if args.compare is None:
        print(as_text(found))
    else:
        configs[args.compare] = other = _read(args.compare, None)
        _print_differences(differences(found, recipe(other, args.images, args.seed)), args)
    if args.json is not None:
        write_whole(args.json, json.dumps(found, indent=1, default=str))
    if args.out is not None:
        _draw(configs, args)
    if cfg.train_cfg.get("max_epochs") is not None and found["loader"]["images"] is None:
        print(
            f"the training images are missing: assuming {ASSUMED} iterations per epoch; "
            "pass --images N to compute them for N images"
        )


def _read(path: str, options: dict | None):
    from smallvit.engine.pipeline import resolve

    needs = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
    return resolve(path, options, needs, "a recipe")


def _print_differences(found: dict, args: argparse.Namespace) -> None:
    print(f"{args.config} | {args.compare}")
    for key, (ours, other) in found.items():
        print(f"{' / '.join(key)}: {ours} | {other}")
    print(f"{len(found)} differences" if found else "no differences")


def _draw(configs: dict, args: argparse.Namespace) -> None:
    from smallvit.analysis.recipe.plot import draw_curves
    from smallvit.analysis.recipe.report import curve_of
    from smallvit.cli.config import short_names

    names = short_names(list(configs))
    curves = {
        name: curve_of(cfg, args.images) for name, cfg in zip(names, configs.values(), strict=True)
    }
    draw_curves(curves, args.out)
    print(f"curve: {args.out}")
