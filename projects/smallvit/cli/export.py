"""Export a trained model to ONNX, torch.export or TorchScript, and verify its outputs."""

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

#: Maximum number of images for int8 calibration.
CALIBRATION = 256

EPILOG = """
Classifiers return class probabilities, segmentors class probabilities per pixel, Faster R-CNN and
Mask R-CNN boxes, scores (0: no object), labels and masks within the boxes for one image of a fixed
size, and --part backbone the feature maps of backbone and neck. A cascade (DVT) is exported to a
folder with one ONNX graph per exit, which smallvit.apis.CascadeRunner runs with early exit. Class
names and input requirements are in the metadata: keys smallvit.* in ONNX, smallvit.json otherwise.
For --precision bf16 and int8, the agreement with float32 is reported; pass your own --images.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit export``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = checkpoint_parser(__doc__, EPILOG)
    parser.add_argument("--out", required=True, help="output file; a folder for cascades")
    parser.add_argument(
        "--format",
        choices=("onnx", "torch-export", "torchscript"),
        default="onnx",
        help="default: onnx; torchscript is deprecated by PyTorch",
    )
    parser.add_argument(
        "--preprocess",
        action="store_true",
        help="include normalization in the graph; its input is BGR with values 0 to 255",
    )
    parser.add_argument(
        "--fixed-batch", action="store_true", help="fix the batch size to two images"
    )
    parser.add_argument(
        "--dynamic-size", action="store_true", help="dynamic image size, if the network supports it"
    )
    parser.add_argument(
        "--part", choices=("whole", "backbone"), default="whole", help="default: whole"
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="FILE",
        help="images for the comparison; their size after the test pipeline is that of the graph; "
        "default: two photographs from scikit-learn",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="default: fp32; bf16 requires torch-export or torchscript, int8 requires onnx",
    )
    parser.add_argument(
        "--calibrate",
        nargs="+",
        metavar="IMAGES",
        help="calibrate the activation ranges of int8 on these files, folders or patterns, using "
        f"up to {CALIBRATION} evenly spaced images; default: dynamic quantization",
    )
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``smallvit export``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.
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
    print(f"exporting to {args.format}; for a detector, this takes a minute or more", flush=True)
    if hasattr(predictor.model, "predict_budgeted") and args.part == "whole":
        if args.format != "onnx":
            raise UserError(f"--format {args.format}: cascades can only be exported to onnx")
        _require_folder(args)
        worst = export_cascade(predictor, args.out, wish, args.images, calibration, print)
    else:
        require_free(args.out, args.overwrite, sources=[args.checkpoint])
        worst = export(predictor, args.out, args.format, wish, args.images, calibration, print)
    print(
        f"{args.out}: {args.format}, differs from PyTorch by at most {worst:.1e} of the "
        "largest value"
    )
    if args.format == "torchscript":
        print("TorchScript is deprecated since torch 2.14: use --format torch-export instead")
    if args.format != "onnx":
        print("import smallvit.ops before loading a file that uses custom operators of smallvit")


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
        raise UserError(f"{args.out} is a file: a cascade needs a folder, with one graph per exit")
    if os.path.isdir(args.out) and os.listdir(args.out) and not args.overwrite:
        raise UserError(f"{args.out} is not empty: pass --overwrite to replace the graphs in it")
