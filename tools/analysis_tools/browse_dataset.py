#!/usr/bin/env python
"""Draw images of a dataset after the pipeline, with their ground truth.

    smallvit browse configs/dhvt/dhvt-t_folder.py --out sheet.png
    smallvit browse CONFIG --phase val --mode concat --output-dir drawn

Batch augmentations of the data preprocessor, such as Mixup, are not drawn.
"""

import argparse
import os
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free

#: Default number of images on a sheet.
NUM = 12


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument(
        *("--phase", "-p"), choices=["train", "val", "test"], default="train", help="default: train"
    )
    parser.add_argument(
        *("--mode", "-m"),
        choices=["transformed", "original", "concat", "pipeline"],
        default="transformed",
        help="input of the model, stored image, both side by side, or the image after each step of "
        "the pipeline; default: transformed",
    )
    parser.add_argument("--out", metavar="FILE", help="output sheet; default: browse_<phase>.png")
    parser.add_argument(
        *("--output-dir", "-o"), metavar="DIR", help="write separate images to this folder instead"
    )
    parser.add_argument(
        *("--show-number", "-n"),
        type=positive,
        help=f"number of images; default: {NUM} for a sheet, all for a folder",
    )
    parser.add_argument("--columns", type=positive, help="images per row; default: 4")
    parser.add_argument(
        "--size", type=positive, default=256, help="shorter side of each drawn image; default: 256"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of sampling and augmentation")
    parser.add_argument(
        "--in-order", action="store_true", help="draw the first images instead of random ones"
    )
    parser.add_argument("--no-boxes", action="store_true", help="do not draw boxes")
    parser.add_argument("--no-names", action="store_true", help="do not draw class names")
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.out and args.output_dir:
        parser.error("--out and --output-dir are mutually exclusive")
    if args.columns and (args.output_dir or args.mode == "pipeline"):
        parser.error("--columns requires a sheet with one cell per image")
    if args.in_order and args.output_dir:
        parser.error("--output-dir always writes the images in order: omit --in-order")
    if not args.out and not args.output_dir:
        args.out = f"browse_{args.phase}.png"
    return args


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.out, args.overwrite, sources=[args.config])

    import numpy as np
    from mmengine.runner import set_random_seed
    from mmengine.utils import track_iter_progress

    from smallvit.analysis.browsing import Browser
    from smallvit.analysis.pictures import save_sheet
    from smallvit.engine.pipeline import resolve

    cfg = resolve(args.config, args.cfg_options)
    style = dict(boxes=not args.no_boxes, names=not args.no_names)
    browser = Browser(cfg, args.phase, args.mode, args.size, **style)
    set_random_seed(args.seed)
    order = range(len(browser))
    if not args.in_order and args.out:
        order = np.random.RandomState(args.seed).permutation(len(browser)).tolist()
    num = args.show_number or (NUM if args.out else len(browser))
    if args.output_dir:
        write_pictures(browser, list(order[:num]), args.output_dir, args.overwrite)
        return
    tiles = [browser.tile(index) for index in track_iter_progress(list(order[:num]))]
    print()
    columns = 1 if args.mode == "pipeline" else min(args.columns or 4, len(tiles))
    save_sheet(tiles, args.out, columns, style=browser.style)
    print(f"{args.out}: {min(num, len(browser))} of {len(browser)} images, {args.mode}")


def write_pictures(browser, numbers: list[int], folder: str, overwrite: bool) -> None:
    """Write one file per image, named by its index in the dataset."""
    from mmengine.utils import track_iter_progress

    from smallvit.analysis.pictures import save_sheet

    paths = {number: os.path.join(folder, f"{number:06d}.png") for number in numbers}
    for path in paths.values():
        require_free(path, overwrite)
    for number in track_iter_progress(numbers):
        save_sheet([browser.tile(number)], paths[number], columns=1, style=browser.style)
    print(f"\n{folder}: {len(numbers)} pictures")


if __name__ == "__main__":
    sys.exit(run_tool(main))
