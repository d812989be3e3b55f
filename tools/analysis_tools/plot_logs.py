#!/usr/bin/env python
"""Plot training and validation curves from the logs of one or more runs.

Each run is a work directory (resumed sessions are joined) or a scalars.json. By default, the loss
and every validation metric are plotted over iterations, one panel each.
"""

import argparse
import os
import sys

from smallvit.analysis.curves import choose_keys, draw_runs
from smallvit.analysis.figures import save_figure
from smallvit.analysis.logs import ScalarCurve, read_run
from smallvit.cli import run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("runs", nargs="+", help="work directories or scalars.json files")
    parser.add_argument("--keys", nargs="+", help="keys to plot, such as loss coco/bbox_mAP")
    parser.add_argument(
        "--out", default="curves.png", help="output plot: .png, .pdf or .svg; default: %(default)s"
    )
    add_overwrite_flag(parser)
    parser.add_argument("--legend", nargs="+", help="names of the runs; default: folder names")
    parser.add_argument(
        "--smooth",
        type=positive,
        default=1,
        metavar="N",
        help="moving average over N points; default: 1 (none)",
    )
    parser.add_argument("--title", help="title of the figure")
    args = parser.parse_args(argv)
    if not args.out.endswith((".png", ".pdf", ".svg")):
        parser.error(f"--out {args.out}: the file extension must be .png, .pdf or .svg")
    if args.legend is not None and len(args.legend) != len(args.runs):
        parser.error(f"--legend has {len(args.legend)} names for {len(args.runs)} runs")
    return args


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.out, args.overwrite)
    runs: dict[str, dict[str, ScalarCurve]] = {}
    for path, name in zip(args.runs, args.legend or args.runs, strict=True):
        curves = read_run(path)
        runs[name if args.legend else unused_name(path, runs)] = curves
    figure = draw_runs(runs, choose_keys(runs, args.keys), args.smooth, args.title)
    save_figure(figure, args.out, dpi=150)
    print(f"wrote {args.out}")


def unused_name(path: str, runs: dict) -> str:
    name = os.path.basename(os.path.normpath(path))
    return name if name not in runs else path


if __name__ == "__main__":
    sys.exit(run_tool(main))
