#!/usr/bin/env python
"""Compare the metrics of the quick start with their floors; exit status 1 if one is missed."""

import argparse
import json
import sys
from pathlib import Path

from smallvit.utils.files import write_whole

#: Task, name of the logged metric, its scale (100: percent, 1: fraction), display name, floor.
FLOORS = [
    ("classification", "accuracy/top1", 100, "accuracy", 0.96),
    ("detection", "coco/bbox_mAP_50", 1, "bbox mAP50", 0.60),
    ("detection", "coco/segm_mAP_50", 1, "segm mAP50", 0.55),
    ("segmentation", "mIoU", 100, "mIoU", 0.60),
]
TASKS = list(dict.fromkeys(row[0] for row in FLOORS))


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="output folder of tools/quickstart.sh")
    parser.add_argument(
        "--collect",
        nargs=2,
        metavar=("TASK", "SECONDS"),
        help="store the logged test metrics and the duration of TASK instead",
    )
    return parser.parse_args(argv)


def collect(folder: Path, task: str, seconds: float) -> None:
    """Write ``TASK/metrics.json`` from the newest test log.

    Args:
        folder (Path): Output folder of the quick start.
        task (str): Name of the task's folder.
        seconds (float): Wall time of training and testing.
    """
    logs = sorted((folder / task / "test").glob("*/*.json"))
    if not logs:
        sys.exit(f"no logged metrics found in {folder / task / 'test'}")
    metrics = json.loads(logs[-1].read_text()) | {"seconds": seconds}
    write_whole(folder / task / "metrics.json", json.dumps(metrics, indent=1))


def rows(folder: Path) -> list[tuple[str, str, float, float, float]]:
    """Read the metrics of all tasks.

    Args:
        folder (Path): Output folder of the quick start.

    Returns:
        list[tuple]: Task, metric, value, floor and seconds.
    """
    logged = {task: json.loads((folder / task / "metrics.json").read_text()) for task in TASKS}
    return [
        (task, name, logged[task][key] / unit, floor, logged[task]["seconds"])
        for task, key, unit, name, floor in FLOORS
    ]


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.collect:
        collect(args.folder, args.collect[0], float(args.collect[1]))
        return 0
    table = rows(args.folder)
    line = "{:<16} {:<12} {:>8} {:>8}   {:<8} {:>9}"
    print(line.format("task", "metric", "measured", "floor", "", "seconds"))
    for task, name, value, floor, seconds in table:
        verdict = "reached" if value >= floor else "MISSED"
        print(line.format(task, name, f"{value:.3f}", f"{floor:.2f}", verdict, f"{seconds:.0f}"))
    return int(any(value < floor for _, _, value, floor, _ in table))


if __name__ == "__main__":
    sys.exit(main())
