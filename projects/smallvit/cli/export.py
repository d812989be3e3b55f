"""Export a trained model as a graph for other programs, and compare it with PyTorch on images."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smallvit.cli.arguments import (
    add_overwrite_flag,
    checkpoint_parser,
    read_as_asked,
    require_free,
)

if TYPE_CHECKING:
    from smallvit.apis.predictor import Predictor

#: Images that int8 is calibrated on, at most.
CALIBRATION = 256

EPILOG = """
Classifiers give the probabilities of classes, segmentors those of each pixel, Faster and Mask R-CNN
boxes, scores (0: no object), labels and masks within the boxes of one image of one size, --part
backbone the maps of backbone and neck. A cascade (DVT) becomes a folder of ONNX graphs, one an
exit, which smallvit.apis.CascadeRunner runs with early exits. Classes and what the images have to
be are in the metadata: keys smallvit.* of ONNX, smallvit.json in the others. Of --precision bf16
and int8 it is told how often they decide as float32 does, which takes images of yours: --images.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit export``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.

    Returns:
        argparse.Namespace: Them.
    """
    parser = checkpoint_parser(__doc__, EPILOG)
    parser.add_argument("--out", required=True, help="file to write; of a cascade a folder")
    parser.add_argument(
        "--format",
        choices=("onnx", "torch-export", "torchscript"),
        default="onnx",
        help="default: onnx; torchscript is deprecated by torch",
    )
    parser.add_argument(
        "--preprocess",
        action="store_true",
        help="the graph takes values 0 to 255 in the order BGR, and normalizes them itself",
    )
    parser.add_argument("--fixed-batch", action="store_true", help="two images at a time, always")
    parser.add_argument(
        "--dynamic-size", action="store_true", help="images of any size, where the network can"
    )
    parser.add_argument(
        "--part", choices=("whole", "backbone"), default="whole", help="default: whole"
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="images to compare on, and whose size the graph has after the test pipeline; default: "
        "two photographs that scikit-learn ships",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="default: fp32; bf16 is of torch-export and torchscript, int8 of onnx",
    )
    parser.add_argument(
        "--calibrate",
        nargs="+",
        metavar="IMAGES",
        help=f"files, folders or patterns, of which up to {CALIBRATION} images in even distances "
        "give int8 its ranges; without: found in each call (dynamic quantization)",
    )
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit export``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.
    """
    args = parse_args(argv)
    if not os.path.isdir(args.out):
        require_free(args.out, args.overwrite, sources=[args.checkpoint])

    from smallvit.apis.cascades import export_cascade
    from smallvit.apis.exporting import Wish, export
    from smallvit.apis.predictor import Predictor
    from smallvit.errors import UserError

    read_as_asked(args)
    predictor = Predictor(args.checkpoint, args.config, "cpu")
    wish = Wish(not args.fixed_batch, args.dynamic_size, args.preprocess, args.part, args.precision)
    calibration = _calibration(args, predictor)
    if hasattr(predictor.model, "predict_budgeted") and args.part == "whole":
        if args.format != "onnx":
            raise UserError(f"--format {args.format}: the exits of a cascade are ONNX graphs")
        _require_folder(args)
        worst = export_cascade(predictor, args.out, wish, args.images, calibration, print)
    else:
        require_free(args.out, args.overwrite, sources=[args.checkpoint])
        worst = export(predictor, args.out, args.format, wish, args.images, calibration, print)
    print(f"{args.out}: {args.format}, differs from PyTorch by {worst:.1e} of the largest value")
    if args.format == "torchscript":
        print(
            "torch calls TorchScript deprecated since 2.14: --format torch-export is its successor"
        )
    if args.format != "onnx":
        print("a program that loads it imports smallvit.ops first, where it has operators of ours")


def _calibration(args: argparse.Namespace, predictor: Predictor) -> list[str] | None:
    from smallvit.apis.sources import endings_of, evenly_chosen_files

    if args.calibrate is None:
        return None
    files = evenly_chosen_files(args.calibrate, CALIBRATION, endings_of(predictor))
    print(f"calibrating on {len(files)} images")
    return files


def _require_folder(args: argparse.Namespace) -> None:
    from smallvit.errors import UserError

    if os.path.isfile(args.out):
        raise UserError(f"{args.out} is a file: a cascade needs a folder, of one graph an exit")
    if os.path.isdir(args.out) and os.listdir(args.out) and not args.overwrite:
        raise UserError(f"{args.out} holds files: --overwrite replaces graphs in it")
