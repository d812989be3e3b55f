"""Measured throughput of a cascade: every mode in turns, in one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from smallvit.analysis.harness import in_turns, ratios
from smallvit.plugins.multi_exit.calibration import Calibration


@dataclass
class Point:
    """One way to run the cascade, measured.

    Args:
        name (str): "exit 0", ... for all images at one exit, "budgeted 0", ... for the
            rows of thresholds.
        accuracy (float): On these images, in percent.
        gflops (float): Mean of an image.
        images_per_second (float): Median over the rounds.
        speedup (float): Over the last exit, median of the rounds' ratios.
        speedup_range (tuple[float, float]): Smallest and largest ratio.
        shares (list[float]): Percent of the images that left at each exit.
        ideal (float): Speed-up if each image took what its exit alone takes it at this batch size,
            and deciding took nothing.
        thresholds (list[float], optional): Of a budgeted one. Defaults to None.
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
    """Time all exits and some rows of thresholds alternately.

    Args:
        model (nn.Module): A :class:`MultiExitClassifier` in evaluation mode.
        images (Tensor): (N, C, H, W), preprocessed, on its device.
        labels (Tensor): int64 (N, ).
        calibration (Calibration): FLOPs, policy and temperatures.
        rows (Sequence[Sequence[float]]): Thresholds to measure.
        batch_size (int): Images at once. Defaults to 128.
        rounds (int): How often each is timed. Defaults to 5.

    Returns:
        list[Point]: The exits, then the rows.
    """
    runs: dict[str, Run] = {
        f"exit {index}": partial(_fixed, model, index) for index in range(model.num_exits)
    }
    for number, row in enumerate(rows):
        runs[f"budgeted {number}"] = partial(_budgeted, model, list(row))
    batches = images.split(batch_size)
    answers = {name: _answers(run, batches) for name, run in runs.items()}
    passes = {name: partial(_pass, run, batches) for name, run in runs.items()}
    times = in_turns(passes, rounds, device=str(images.device))
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
    """Find the fastest budgeted point that is nearly as accurate as the last exit.

    Args:
        points (Sequence[Point]): What :func:`measure` returned.
        margin (float): Points of accuracy that may be lost.

    Returns:
        Point | None: The fastest, or None if none is accurate enough.
    """
    last = [point for point in points if point.thresholds is None][-1]
    enough = [
        point
        for point in points
        if point.thresholds is not None and point.accuracy >= last.accuracy - margin
    ]
    return max(enough, key=lambda point: point.images_per_second, default=None)


def as_good_alone(points: Sequence[Point], best: Point) -> Point | None:
    """Find an exit alone that is as accurate as thresholds and at least as fast.

    Args:
        points (Sequence[Point]): What :func:`measure` returned.
        best (Point): The point of some thresholds.

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
    """Plain values of points, for a JSON file."""
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
