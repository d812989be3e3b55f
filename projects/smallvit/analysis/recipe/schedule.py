"""Learning-rate schedule of a config, from stepping its schedulers over the whole training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

#: Points of a curve in a report; the first epochs, with the warm-up, have equally many.
POINTS, FIRST = 20, 7


@dataclass(frozen=True)
class LRCurve:
    """Learning rates of a training run.

    Args:
        rates (np.ndarray): Rate of each iteration, (iterations,).
        epoch_length (int, optional): Iterations of an epoch, None where none are counted.
    """

    rates: np.ndarray
    epoch_length: int | None

    @property
    def epochs(self) -> int | None:
        """int | None: Number of epochs."""
        return self.epoch_length and len(self.rates) // self.epoch_length

    @property
    def peak(self) -> float:
        """float: The maximum learning rate."""
        return float(self.rates.max())

    def at_epoch(self, epoch: int) -> float:
        """Return the rate of the first iteration of an epoch.

        Args:
            epoch (int): Number of the epoch, from 0.

        Returns:
            float: The rate.
        """
        return float(self.rates[epoch * self.epoch_length])

    def epoch_means(self) -> np.ndarray:
        """Return the mean rate of each epoch.

        Returns:
            np.ndarray: The means, (epochs,).
        """
        return self.rates.reshape(-1, self.epoch_length).mean(1)

    def total(self) -> float:
        """Return the sum of the epochs' means, or of all iterations where none are counted.

        Returns:
            float: The sum.
        """
        return float(self.rates.sum() if self.epoch_length is None else self.epoch_means().sum())


def learning_rates(
    cfg: Config, epoch_length: int | None, multipliers: Sequence[float] = (1.0,)
) -> list[LRCurve]:
    """Step the schedulers of a config over its whole training, without its model.

    Args:
        cfg (Config): A training config.
        epoch_length (int, optional): Iterations of an epoch; None only for a training that
            is counted in iterations.
        multipliers (Sequence[float]): ``lr_mult`` of the parameter groups that are asked for.
            Defaults to (1.0,).

    Returns:
        list[LRCurve]: The curve of each group.
    """
    rate = cfg.optim_wrapper.optimizer.lr
    groups = [dict(params=[torch.zeros(1)], lr=rate * factor) for factor in multipliers]
    optimizer = torch.optim.SGD(groups, lr=rate)
    by_epoch, length = training_length(cfg)
    schedulers = build_schedulers(cfg, optimizer, epoch_length)
    iterations = length * epoch_length if by_epoch else length
    rates = _step(optimizer, schedulers, iterations, epoch_length)
    return [LRCurve(column, epoch_length) for column in rates.T]


def training_length(cfg: Config) -> tuple[bool, int]:
    """Determine the length of a config's training.

    Args:
        cfg (Config): A training config.

    Returns:
        tuple[bool, int]: Whether it counts epochs, and their number, or that of iterations.
    """
    train_cfg = cfg.train_cfg
    if train_cfg.get("max_epochs") is not None:
        return True, train_cfg.max_epochs
    return False, train_cfg.max_iters


def build_schedulers(
    cfg: Config, optimizer: torch.optim.Optimizer, epoch_length: int | None
) -> list[Any]:
    """Build the schedulers of a config as MMEngine's Runner does.

    Args:
        cfg (Config): A training config.
        optimizer (torch.optim.Optimizer): What they set the rates of.
        epoch_length (int, optional): Iterations of an epoch.

    Returns:
        list[_ParamScheduler]: The schedulers.
    """
    by_epoch, length = training_length(cfg)
    found = cfg.get("param_scheduler") or []
    settings = [found] if isinstance(found, Mapping) else found
    built = []
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        for one in settings:
            one = deepcopy(one)
            ends_by_epoch = one.get("by_epoch", True)
            if ends_by_epoch == by_epoch:
                one.setdefault("end", length)
            elif by_epoch:
                one.setdefault("end", length * epoch_length)
            default_args = dict(optimizer=optimizer, epoch_length=epoch_length)
            built.append(PARAM_SCHEDULERS.build(one, default_args=default_args))
    return built


def _step(
    optimizer: torch.optim.Optimizer,
    schedulers: list[Any],
    iterations: int,
    epoch_length: int | None,
) -> np.ndarray:
    """Learning rates before each iteration, (iterations, groups)."""
    each_epoch = [one for one in schedulers if one.by_epoch]
    each_iteration = [one for one in schedulers if not one.by_epoch]
    optimizer.step()  # Schedulers warn where none came before them.
    groups = optimizer.param_groups
    rates = []
    # Between epochs nothing changes unless a scheduler counts iterations.
    stride = 1 if each_iteration or epoch_length is None else epoch_length
    for done in range(stride, iterations + stride, stride):
        rates.append([group["lr"] for group in groups])
        for scheduler in each_iteration:
            scheduler.step()
        if epoch_length is not None and done % epoch_length == 0:
            for scheduler in each_epoch:
                scheduler.step()
    return np.repeat(np.array(rates), stride, axis=0)[:iterations]


def describe_curve(curve: LRCurve) -> dict[str, Any]:
    """Summarize a curve in numbers for a report.

    Args:
        curve (LRCurve): Learning rate at each iteration.

    Returns:
        dict: The rates at twenty epochs or iterations, the peak and the sum.
    """
    if curve.epoch_length is None:
        points = _spread(0, len(curve.rates) - 1, POINTS)
        rates = {f"iteration {point}": float(curve.rates[point]) for point in points}
        return {**rates, "peak": curve.peak, "sum over iterations": curve.total()}
    last = curve.epochs - 1
    points = [*range(FIRST), *_spread(FIRST - 1, last, POINTS - FIRST + 1)[1:]]
    points = points if last >= POINTS else range(last + 1)
    rates = {f"epoch {point}": curve.at_epoch(point) for point in points}
    return {**rates, "peak": curve.peak, "sum over epochs of the mean": curve.total()}


def _spread(first: int, last: int, count: int) -> list[int]:
    return sorted({round(first + (last - first) * part / (count - 1)) for part in range(count)})
