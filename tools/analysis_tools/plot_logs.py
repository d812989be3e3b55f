#!/usr/bin/env python
"""Draw training and validation curves from the logs of any number of runs.

Each run is a work dir (runs that were resumed are joined) or a scalars.json. Without
--keys, the loss and every validation metric are drawn, one panel each, over iterations.
"""

import argparse
import sys

from smallvit.analysis.logs import Curve, read_run
from smallvit.cli import UserError, run_tool, tool_parser


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("runs", nargs="+", help="work dirs or scalars.json files")
    parser.add_argument("--keys", nargs="+", help="what to draw, e.g. loss coco/bbox_mAP")
    parser.add_argument("--out", default="curves.png", help=".png, .pdf or .svg; %(default)s")
    parser.add_argument("--legend", nargs="+", help="names of the runs; default: their folders")
    parser.add_argument(
        "--smooth", type=int, default=1, metavar="N", help="moving average over N points; 1: none"
    )
    parser.add_argument("--title", help="title of the figure")
    args = parser.parse_args(argv)
    if not args.out.endswith((".png", ".pdf", ".svg")):
        parser.error(f"--out {args.out}: the file must end in .png, .pdf or .svg")
    if args.legend is not None and len(args.legend) != len(args.runs):
        parser.error(f"--legend has {len(args.legend)} names for {len(args.runs)} runs")
    if args.smooth < 1:
        parser.error("--smooth must be 1 or more")
    return args


def choose_keys(runs: dict[str, dict[str, Curve]], asked: list[str] | None) -> list[str]:
    available = sorted({key for curves in runs.values() for key in curves})
    if asked is None:
        metrics = {key for run in runs.values() for key in run if run[key].validation}
        return [key for key in available if key == "loss" or key in metrics] or available
    unknown = [key for key in asked if key not in available]
    if unknown:
        raise UserError(
            f"no run logged {', '.join(unknown)}; they logged {', '.join(available) or 'nothing'}"
        )
    return asked


def draw(runs: dict[str, dict[str, Curve]], keys: list[str], args: argparse.Namespace):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    size = (4.5 * columns, 3.2 * rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, squeeze=False, layout="constrained", sharex=False
    )
    for ax, key in zip(axes.flat, keys, strict=False):
        draw_panel(ax, key, runs, args.smooth)
    for ax in axes.flat[len(keys) :]:
        ax.set_visible(False)
    if len(runs) > 1:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(runs)))
    figure.suptitle(args.title or ("" if len(runs) > 1 else next(iter(runs))))
    return figure


def draw_panel(ax, key: str, runs: dict[str, dict[str, Curve]], smooth: int) -> None:
    for number, (name, curves) in enumerate(runs.items()):
        curve = curves.get(key)
        if curve is None:
            ax.plot([], [], color=f"C{number}", label=name)
            continue
        window = 1 if curve.validation else smooth
        if window > 1:
            ax.plot(curve.iterations, curve.values, color=f"C{number}", alpha=0.2, linewidth=0.8)
        ax.plot(
            *curve.averaged(window),
            color=f"C{number}",
            label=name,
            marker="o" if curve.validation or len(curve.values) == 1 else None,
            markersize=3,
        )
    ax.set_title(key)
    ax.set_xlabel("iteration")
    ax.grid(alpha=0.3)


def main(argv=None) -> None:
    args = parse_args(argv)
    runs: dict[str, dict[str, Curve]] = {}
    for path, name in zip(args.runs, args.legend or args.runs, strict=True):
        curves = read_run(path)
        runs[name if args.legend else unused_name(path, runs)] = curves
    figure = draw(runs, choose_keys(runs, args.keys), args)

    import os

    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    stem, ending = os.path.splitext(args.out)
    figure.savefig(f"{stem}.tmp{ending}", dpi=150)
    os.replace(f"{stem}.tmp{ending}", args.out)
    print(f"wrote {args.out}")


def unused_name(path: str, runs: dict) -> str:
    import os

    name = os.path.basename(os.path.normpath(path))
    return name if name not in runs else path


if __name__ == "__main__":
    sys.exit(run_tool(main))
