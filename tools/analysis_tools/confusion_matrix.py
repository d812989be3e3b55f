#!/usr/bin/env python
"""Print per-class metrics and plot the confusion matrix.

    smallvit confusion CONFIG predictions.json --out matrix.png
    smallvit confusion CONFIG CHECKPOINT --csv classes.csv

For detectors, errors are also counted by type: classification, localization, duplicate,
background, missed.
"""

import argparse
import csv
import io
import json
import os
import sys
import tempfile
from itertools import takewhile

from smallvit.cli import UserError, base_parser, run_tool
from smallvit.cli.arguments import add_overwrite_flag, require_free
from smallvit.cli.main import main as run_verb

#: Extensions of prediction files; other files are treated as checkpoints.
PREDICTIONS = (".json", ".npz", ".pkl", ".pickle")


def share(text: str) -> float:
    """Parse a number between 0 and 1 (argparse type)."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def parse_args(argv=None) -> argparse.Namespace:
    parser = base_parser(__doc__)
    parser.add_argument(
        "predictions", help="predictions of test.py --out FILE, or a checkpoint to test"
    )
    parser.add_argument("--out", metavar="FILE", help="output plot: .png, .jpg, .pdf")
    parser.add_argument("--csv", metavar="FILE", help="write the per-class table")
    parser.add_argument("--json", metavar="FILE", help="write the matrix and the per-class table")
    objects = parser.add_argument_group("detectors")
    objects.add_argument("--score-thr", type=share, help="score threshold; default: 0.3")
    objects.add_argument("--iou-thr", type=share, help="IoU threshold of a match; default: 0.5")
    objects.add_argument("--masks", action="store_true", help="compare masks instead of boxes")
    parser.add_argument(
        "--trust-predictions",
        action="store_true",
        help="allow predictions in a pickle, which may execute code",
    )
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    words = list(sys.argv[1:] if argv is None else argv)
    # Pass the options to test.py unparsed.
    begin = words.index("--cfg-options") if "--cfg-options" in words else len(words)
    args.typed_options = list(takewhile(lambda word: not word.startswith("--"), words[begin + 1 :]))
    return args


def main(argv=None) -> int | None:
    args = parse_args(argv)
    for path in (args.out, args.csv, args.json):
        require_free(path, args.overwrite, sources=[args.predictions, args.config])
    if args.predictions.endswith(PREDICTIONS):
        report(args, args.predictions)
        return None
    with tempfile.TemporaryDirectory() as folder:
        return test_first(args, folder)


def test_first(args: argparse.Namespace, folder: str) -> int | None:
    """Test a checkpoint and report on its predictions."""
    from smallvit.engine.pipeline import resolve
    from smallvit.engine.predictions import SEGMENTATION, SUFFIXES

    scope = resolve(args.config, args.cfg_options).get("default_scope")
    suffix = SUFFIXES[SEGMENTATION] if scope == "mmseg" else ".json"
    path = os.path.join(folder, f"predictions{suffix}")
    argv = ["test", args.config, args.predictions, "--out", path, "--work-dir", folder]
    options = args.typed_options
    status = run_verb([*argv, *(["--cfg-options", *options] if options else [])])
    if status:
        return status
    report(args, path)
    return None


def report(args: argparse.Namespace, path: str) -> None:
    """Print the tables and write the output files."""
    from smallvit.analysis.confusion import KINDS, confusion, matrix_figure
    from smallvit.analysis.figures import save_figure
    from smallvit.engine.pipeline import resolve
    from smallvit.engine.predictions import read_predictions
    from smallvit.utils.files import write_whole

    cfg = resolve(args.config, args.cfg_options, ("test_dataloader",), "the confusion matrix")
    predictions = read_predictions(path, args.trust_predictions)
    asked = {
        key: getattr(args, key)
        for key in ("score_thr", "iou_thr", "masks")
        if getattr(args, key) not in (None, False)
    }
    found = confusion(cfg, predictions, path, **asked)
    if asked and found.kinds is None:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in asked)
        raise UserError(f"{flags}: require a detector, but these are predictions of {found.unit}")
    rows = found.rows()
    print_rows(rows, found.unit)
    if found.kinds is not None:
        print()
        for kind, count in found.kinds.items():
            print(f"{kind:<16} {count:>7}  {KINDS[kind]}")
    for written in filter(None, (args.csv, args.json)):
        os.makedirs(os.path.dirname(os.path.abspath(written)), exist_ok=True)
    if args.csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(args.csv, text.getvalue())
    if args.json:
        kept = dict(classes=found.classes, matrix=found.matrix.tolist(), unit=found.unit)
        write_whole(args.json, json.dumps({**kept, "kinds": found.kinds, "table": rows}) + "\n")
    if args.out:
        save_figure(matrix_figure(found), args.out)
    for written in filter(None, (args.csv, args.json, args.out)):
        print(f"written: {written}")


def print_rows(rows: list[dict], unit: str) -> None:
    """Print recall, precision, F1 and IoU of each class."""
    width = max(5, *(len(row["class"]) for row in rows))
    print(f"{'class':<{width}} {unit:>9}  recall  precision      F1     IoU  most confused with")
    for row in rows:
        recall, precision, f1, iou = (
            "-" if row[key] is None else f"{row[key]:.1f}"
            for key in ("recall", "precision", "f1", "iou")
        )
        print(
            f"{row['class']:<{width}} {row['count']:>9} {recall:>7} {precision:>10} {f1:>7} "
            f"{iou:>7}  {row['most_taken_for'] or '-'}"
        )


if __name__ == "__main__":
    sys.exit(run_tool(main))
