#!/usr/bin/env python
"""Draw the images of a config's data set as the model gets them, with their ground truth.

    smallvit browse configs/dhvt/dhvt-t_folder.py --out sheet.png
    smallvit browse CONFIG --phase val --mode concat --output-dir drawn

What a data preprocessor adds for a whole batch, such as Mixup, is not drawn.
"""

import argparse
import os
import sys

from smallvit.cli import base_parser, run_tool
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free

#: Images on a sheet, unless told otherwise.
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
        help="what the model gets, the stored image, both side by side, or the image behind each "
        "step of the pipeline; default: transformed",
    )
    parser.add_argument("--out", metavar="FILE", help="sheet to write; default: browse_<phase>.png")
    parser.add_argument(
        *("--output-dir", "-o"), metavar="DIR", help="write each picture into this folder instead"
    )
    parser.add_argument(
        *("--show-number", "-n"),
        type=positive,
        help=f"images to draw; default: {NUM} on a sheet, all into a folder",
    )
    parser.add_argument("--columns", type=positive, help="pictures in a row; default: 4")
    parser.add_argument(
        "--size", type=positive, default=256, help="shorter side of each drawn image; default: 256"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the choice of images and of their augmentation"
    )
    parser.add_argument(
        "--in-order", action="store_true", help="the first ones, not a random choice"
    )
    parser.add_argument("--no-boxes", action="store_true", help="draw no boxes of objects")
    parser.add_argument("--no-names", action="store_true", help="write no classes of objects")
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.out and args.output_dir:
        parser.error("--out writes one sheet and --output-dir a picture each: choose one")
    if args.columns and (args.output_dir or args.mode == "pipeline"):
        parser.error("--columns is of sheets with a picture an image")
    if args.in_order and args.output_dir:
        parser.error("--output-dir writes the images in order as it is: leave out --in-order")
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
    """Write a picture of each image, named by its number in the data set."""
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
