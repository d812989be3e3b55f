"""Learning-rate schedule of a config, computed by stepping its schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

#: Number of points of a curve in a report, and how many of them are the first epochs (warm-up).
POINTS, FIRST = 20, 7


@dataclass(frozen=True)
class LRCurve:
    """Learning rates of a training run.

    Args:
        rates (np.ndarray): Learning rate of each iteration, (iterations,).
        epoch_length (int, optional): Iterations per epoch; None if training does not count epochs.
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
        """Return the learning rate of the first iteration of an epoch.

        Args:
            epoch (int): Number of the epoch, from 0.

        Returns:
            float: The learning rate.
        """
        return float(self.rates[epoch * self.epoch_length])

    def epoch_means(self) -> np.ndarray:
        """Return the mean learning rate of each epoch.

        Returns:
            np.ndarray: Means (epochs,).
        """
        return self.rates.reshape(-1, self.epoch_length).mean(1)

    def total(self) -> float:
        """Return the sum of the epoch means, or of all iterations if there are no epochs.

        Returns:
            float: The sum.
        """
        return float(self.rates.sum() if self.epoch_length is None else self.epoch_means().sum())


def learning_rates(
    cfg: Config, epoch_length: int | None, multipliers: Sequence[float] = (1.0,)
) -> list[LRCurve]:
    """Compute the learning rates of a config by stepping its schedulers, without its model.

    Args:
        cfg (Config): Training config.
        epoch_length (int, optional): Iterations per epoch; None is only valid for training by
            iterations.
        multipliers (Sequence[float]): ``lr_mult`` of each parameter group. Defaults to (1.0,).

    Returns:
        list[LRCurve]: Curve of each group.
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
    """Determine the length of training.

    Args:
        cfg (Config): Training config.

    Returns:
        tuple[bool, int]: Whether training counts epochs, and the number of epochs or iterations.
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
        cfg (Config): Training config.
        optimizer (torch.optim.Optimizer): Optimizer whose learning rates are scheduled.
        epoch_length (int, optional): Iterations per epoch.

    Returns:
        list[_ParamScheduler]: Schedulers in the order of the config.
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
    optimizer.step()  # schedulers warn if the optimizer has not made a step
    groups = optimizer.param_groups
    rates = []
    # Within an epoch the rates only change if a scheduler counts iterations.
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
    """Summarize a curve for a report.

    Args:
        curve (LRCurve): Learning rate of each iteration.

    Returns:
        dict: Learning rates at twenty epochs or iterations, their maximum and sum.
    """
    if curve.epoch_length is None:
        points = _spread(0, len(curve.rates) - 1, POINTS)
        rates = {f"iteration {point}": float(curve.rates[point]) for point in points}
        return {**rates, "peak": curve.peak, "sum over iterations": curve.total()}
    last = curve.epochs - 1
    points = [*range(FIRST), *_spread(FIRST - 1, last, POINTS - FIRST + 1)[1:]]
    points = points if last >= POINTS else range(last + 1)
    rates = {f"epoch {point}": curve.at_epoch(point) for point in points}
    return {**rates, "peak": curve.peak, "sum of epoch means": curve.total()}


def _spread(first: int, last: int, count: int) -> list[int]:
    return sorted({round(first + (last - first) * part / (count - 1)) for part in range(count)})
