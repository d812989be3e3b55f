#!/usr/bin/env python
"""Draw predictions of test.py (--out FILE) with the ground truth on one sheet.

For classification, up to half of the samples are misclassified ones. Images are enlarged before
drawing, so that small ones remain legible."""

import argparse
import sys

from smallvit.cli import UserError, base_parser, run_tool
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument("predictions", help="predictions of test.py --out FILE")
    parser.add_argument("--out", required=True, help="output image: .png, .jpg, .pdf")
    parser.add_argument("--num", type=positive, default=12, help="number of samples; default: 12")
    parser.add_argument("--columns", type=positive, default=4, help="samples per row; default: 4")
    parser.add_argument(
        "--size",
        type=positive,
        default=384,
        help="shorter side of each image in pixels; default: 384",
    )
    objects = parser.add_argument_group("detectors")
    objects.add_argument("--score-thr", type=float, help="score threshold; default: 0.5")
    objects.add_argument("--no-boxes", action="store_true", help="do not draw boxes")
    objects.add_argument("--no-names", action="store_true", help="do not draw class names")
    objects.add_argument("--no-scores", action="store_true", help="do not draw scores")
    parser.add_argument(
        "--no-truth",
        action="store_true",
        help="do not draw the ground truth of objects or label maps",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for sampling")
    parser.add_argument(
        "--trust-predictions",
        action="store_true",
        help="allow predictions in a pickle, which may execute code",
    )
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.out, args.overwrite, sources=[args.predictions])

    from smallvit.analysis.pictures import draw_samples, save_sheet, style_of
    from smallvit.engine.pipeline import resolve
    from smallvit.engine.predictions import read_predictions

    cfg = resolve(args.config, args.cfg_options, ("test_dataloader",), "drawing")
    predictions = read_predictions(args.predictions, args.trust_predictions)
    require_flags_fit(args, predictions)
    tiles = draw_samples(
        cfg,
        predictions,
        args.num,
        args.size,
        0.5 if args.score_thr is None else args.score_thr,
        args.seed,
        source=args.predictions,
        truth=not args.no_truth,
        boxes=not args.no_boxes,
        names=not args.no_names,
        scores=not args.no_scores,
    )
    save_sheet(tiles, args.out, columns=min(args.columns, len(tiles)), style=style_of(cfg))
    print(f"{args.out}: {len(tiles)} samples")


def require_flags_fit(args: argparse.Namespace, predictions) -> None:
    """Reject flags that do not apply to the task of the predictions."""
    first = predictions[0] if len(predictions) else {}
    others = [key for key in ("no_boxes", "no_names", "no_scores") if getattr(args, key)]
    others += ["score_thr"] if args.score_thr is not None else []
    if "pred_label" in first:
        others += ["no_truth"] if args.no_truth else []
    elif "pred_sem_seg" not in first:
        return
    if others:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in others)
        raise UserError(f"{flags}: not applicable to the predictions in {args.predictions}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
