"""Throughput measurement of a cascade, alternating between modes within one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from smallvit.analysis.harness import ratios, time_interleaved
from smallvit.plugins.multi_exit.calibration import Calibration


@dataclass
class Point:
    """Measured operating point of a cascade.

    Args:
        name (str): "exit 0", ... for all images at one exit, "budgeted 0", ... for the
            rows of thresholds.
        accuracy (float): Accuracy on the measured images, in percent.
        gflops (float): Mean GFLOPs per image.
        images_per_second (float): Median throughput over the rounds.
        speedup (float): Speed-up over the last exit, median of the ratios of the rounds.
        speedup_range (tuple[float, float]): Smallest and largest ratio of the rounds.
        shares (list[float]): Percentage of the images that left at each exit.
        ideal (float): Speed-up if each image took the time of its exit alone at this batch size,
            without overhead of the exit decisions.
        thresholds (list[float], optional): Thresholds of a budgeted point. Defaults to None.
    """

    name: str
    accuracy: float
    gflops: float
    images_per_second: float
    speedup: float
    speedup_range: tuple[float, float]
    shares: list[float]
    ideal: float
    thresholds: list[float] | None = None


Run = Callable[[Tensor], tuple[Tensor, Tensor]]


@torch.inference_mode()
def measure(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    calibration: Calibration,
    rows: Sequence[Sequence[float]],
    batch_size: int = 128,
    rounds: int = 5,
) -> list[Point]:
    """Measure all exits and some rows of thresholds in alternation.

    Args:
        model (nn.Module): A :class:`MultiExitClassifier` in evaluation mode.
        images (Tensor): Preprocessed images on the model's device, (N, C, H, W).
        labels (Tensor): int64 (N, ).
        calibration (Calibration): Calibration with the FLOPs of each exit.
        rows (Sequence[Sequence[float]]): Rows of thresholds to measure.
        batch_size (int): Images per batch. Defaults to 128.
        rounds (int): Number of timed passes of each. Defaults to 5.

    Returns:
        list[Point]: Points of the exits, then those of the rows.
    """
    runs: dict[str, Run] = {
        f"exit {index}": partial(_fixed, model, index) for index in range(model.num_exits)
    }
    for number, row in enumerate(rows):
        runs[f"budgeted {number}"] = partial(_budgeted, model, list(row))
    batches = images.split(batch_size)
    answers = {name: _answers(run, batches) for name, run in runs.items()}
    passes = {name: partial(_pass, run, batches) for name, run in runs.items()}
    times = time_interleaved(passes, rounds, device=str(images.device))
    last = f"exit {model.num_exits - 1}"
    alone = [
        statistics.median(each[f"exit {index}"].wall for each in times)
        for index in range(model.num_exits)
    ]
    points = []
    for name, (predicted, exits) in answers.items():
        speedups = ratios(times, last, name)
        counts = torch.bincount(exits, minlength=model.num_exits).double()
        shares = counts / len(exits)
        points.append(
            Point(
                name,
                100 * (predicted == labels).double().mean().item(),
                float(shares @ torch.tensor(calibration.flops, dtype=torch.float64)),
                len(images) / statistics.median(each[name].wall for each in times),
                statistics.median(speedups),
                (min(speedups), max(speedups)),
                (100 * shares).tolist(),
                alone[-1] / float(shares @ torch.tensor(alone, dtype=torch.float64)),
                list(rows[int(name.split()[1])]) if name.startswith("budgeted") else None,
            )
        )
    return points


def fastest_within(points: Sequence[Point], margin: float) -> Point | None:
    """Find the fastest budgeted point within an accuracy margin of the last exit.

    Args:
        points (Sequence[Point]): Output of :func:`measure`.
        margin (float): Maximum loss of accuracy in percentage points.

    Returns:
        Point | None: The fastest such point, or None if none is accurate enough.
    """
    last = [point for point in points if point.thresholds is None][-1]
    enough = [
        point
        for point in points
        if point.thresholds is not None and point.accuracy >= last.accuracy - margin
    ]
    return max(enough, key=lambda point: point.images_per_second, default=None)


def as_good_alone(points: Sequence[Point], best: Point) -> Point | None:
    """Find a single exit that is at least as accurate and as fast as a budgeted point.

    Args:
        points (Sequence[Point]): Output of :func:`measure`.
        best (Point): Budgeted point to compare with.

    Returns:
        Point | None: The fastest such exit, or None.
    """
    alone = [
        point
        for point in points
        if point.thresholds is None
        and point.accuracy >= best.accuracy
        and point.images_per_second >= best.images_per_second
    ]
    return max(alone, key=lambda point: point.images_per_second, default=None)


def to_rows(points: Sequence[Point]) -> list[dict]:
    """Convert points to dicts of plain values, for a JSON file."""
    return [asdict(point) for point in points]


def _fixed(model: nn.Module, index: int, images: Tensor) -> tuple[Tensor, Tensor]:
    logits = model.predict_fixed(images, index)
    return logits.argmax(dim=1), torch.full((len(images),), index)


def _budgeted(model: nn.Module, row: list[float], images: Tensor) -> tuple[Tensor, Tensor]:
    model.set_inference("budgeted", thresholds=row)
    logits, exits = model.predict_budgeted(images)
    return logits.argmax(dim=1), exits


def _answers(run: Run, batches: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    predicted, exits = zip(*(run(batch) for batch in batches), strict=True)
    return torch.cat(predicted).cpu(), torch.cat(exits).cpu()


def _pass(run: Run, batches: Sequence[Tensor]) -> None:
    for batch in batches:
        run(batch)
