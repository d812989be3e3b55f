"""Run inference with a trained model on images, folders, videos or a camera."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from smallvit.cli.arguments import (
    add_device_flag,
    checkpoint_parser,
    choose_device,
    positive,
    read_as_asked,
)
from smallvit.errors import UserError

EPILOG = """
DIR contains predictions.csv (one row per image, object, or class in an image), predictions.json
(classification: same format as test.py --out; detection: COCO results, with images.json for images
and categories), masks/ (label maps as PNG, pixel values are class indices) and drawn/ (images with
predictions). A second run with the same settings processes only new, changed or unreadable images.
Exit status 1: some images could not be read; the others were processed.
"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit predict``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = checkpoint_parser(__doc__, EPILOG)
    parser.add_argument(
        "source",
        nargs="+",
        help="images, folders (recursive), glob patterns ('photos/*.jpg'), http URLs, "
        "videos, or camera, camera:1",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder")
    add_device_flag(parser)
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="default: 8")
    parser.add_argument(
        "--score-thr",
        type=float,
        help="score threshold for objects of detectors (default: 0.3) and for classes of "
        "multi-label classifiers (default: 0.5)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="default: fp32; for int8, use smallvit export --precision int8",
    )
    parser.add_argument(
        "--no-draw", action="store_true", help="do not write images with predictions"
    )
    tiles = parser.add_argument_group("large images (detectors and segmentors)")
    tiles.add_argument("--tile", type=positive, metavar="N", help="split larger images into tiles")
    tiles.add_argument(
        "--overlap", type=float, help="fraction of overlap between neighboring tiles; default: 0.25"
    )
    exits = parser.add_argument_group("cascades (DVT)")
    exits.add_argument(
        "--max-gflops", type=float, help="mean cost per image, for a calibrated cascade"
    )
    exits.add_argument(
        "--min-accuracy", type=float, help="target accuracy in percent, for a calibrated cascade"
    )
    exits.add_argument("--exit", type=positive, metavar="N", help="use this exit for all images")
    exits.add_argument(
        "--thresholds", type=float, nargs="+", help="confidence thresholds of the exits"
    )
    exits.add_argument("--policy", help="confidence score: max_softmax, margin or entropy")
    videos = parser.add_argument_group("videos and cameras")
    videos.add_argument(
        "--every", type=positive, metavar="N", help="process every N-th frame; default: 1"
    )
    videos.add_argument(
        "--max-frames", type=positive, metavar="N", help="maximum number of frames per video"
    )
    args = parser.parse_args(argv)
    if args.score_thr is not None and not 0 <= args.score_thr <= 1:
        parser.error(f"--score-thr {args.score_thr}: must be between 0 and 1")
    if args.overlap is not None and args.tile is None:
        parser.error("--overlap requires --tile")
    chosen = ("max_gflops", "min_accuracy", "exit", "thresholds")
    given = [f"--{name.replace('_', '-')}" for name in chosen if getattr(args, name) is not None]
    if len(given) > 1:
        parser.error(f"{' and '.join(given)} are mutually exclusive")
    if args.policy is not None and (not given or args.exit is not None):
        parser.error("--policy requires --max-gflops, --min-accuracy or --thresholds")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``smallvit predict``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        int: Exit status, 1 if any image could not be read, otherwise 0.
    """
    args = parse_args(argv)

    import os

    from smallvit.apis.predicting import describe_settings, predict_into
    from smallvit.apis.prediction_folder import PredictionFolder
    from smallvit.apis.predictor import Predictor
    from smallvit.apis.sources import IMAGES, Frames, count_of, endings_of, find_items
    from smallvit.datasets.io.bands import BAND_ENDINGS
    from smallvit.engine.checkpoint.digests import file_sha256
    from smallvit.engine.predictions import DETECTION

    read_as_asked(args)
    device = choose_device(args.device)
    count_of(args.source, (*IMAGES, *BAND_ENDINGS))  # before the model is loaded
    predictor = Predictor(
        args.checkpoint,
        args.config,
        device,
        batch_size=args.batch_size,
        score_thr=args.score_thr,
        tile=args.tile,
        overlap=0.25 if args.overlap is None else args.overlap,
        exits=_exits(args),
        precision=args.precision,
    )
    endings = endings_of(predictor)
    total = count_of(args.source, endings)
    if args.score_thr is not None and predictor.task != DETECTION and not predictor.several:
        raise UserError(
            "--score-thr requires a detector or a multi-label classifier; "
            f"this is a model for {predictor.task}"
        )
    frames = Frames(args.every or 1, args.max_frames)
    if total is not None and (args.every or args.max_frames):
        raise UserError("--every and --max-frames require a video, and there is none")
    classes = f"{len(predictor.classes)} classes" if predictor.classes else "unnamed classes"
    print(f"{args.checkpoint}: {predictor.task}, {classes}, on {device}")
    local = os.path.isfile(args.checkpoint)
    settings = describe_settings(
        predictor,
        args.checkpoint,
        file_sha256(args.checkpoint) if local else args.checkpoint,
        exits=_exits(args),
        config=args.config,
        draws=not args.no_draw,
        every=args.every,
    )
    with PredictionFolder(args.out, settings) as folder:
        items = find_items(args.source, os.path.join(args.out, ".downloads"), frames, endings)
        summary = predict_into(predictor, items, folder, not args.no_draw, _Progress(total))
    _report(summary, args.out)
    return 1 if summary.broken else 0


def _exits(args: argparse.Namespace) -> dict | None:
    names = ("max_gflops", "min_accuracy", "thresholds", "policy")
    exits = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.exit is not None:
        exits["exit_index"] = args.exit - 1
    return exits or None


class _Progress:
    """Progress display: one updated line on a terminal, otherwise a line every 30 seconds."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.began = self.last = time.monotonic()

    def __call__(self, summary) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self.last < (0.2 if terminal else 30):
            return
        self.last = now
        done = summary.predicted + summary.finished + len(summary.broken)
        of = f" of {self.total}" if self.total is not None else ""
        rate = summary.predicted / max(now - self.began, 1e-6)
        text = f"{done}{of} images, {rate:.1f} images/s"
        print(f"\r{text}   " if terminal else text, end="" if terminal else "\n", file=sys.stderr)


def _report(summary, out: str) -> None:
    if sys.stderr.isatty():
        print(file=sys.stderr)
    before = f", {summary.finished} already done" if summary.finished else ""
    print(f"{out}: {summary.predicted} images predicted{before}")
    for origin, reason in summary.broken.items():
        print(f"not read: {origin}: {reason}", file=sys.stderr)
    if summary.broken:
        print(f"{len(summary.broken)} images could not be read", file=sys.stderr)
