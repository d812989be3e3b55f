"""Learning-rate range test: the loss while the learning rate increases at each step."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.analysis.figures import new_figure
from smallvit.analysis.training_steps import bare_runner, steps_of
from smallvit.engine.gradients import optim_wrappers
from smallvit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Smoothing factor of the loss.
SMOOTHING = 0.9
#: The test stops when the smoothed loss exceeds its minimum by this factor.
DIVERGED = 3.0
#: Minimum number of steps for a suggestion.
LEAST = 10


@dataclass
class RangeTest:
    """Learning rates and losses of a learning-rate range test.

    Args:
        rates (list[float]): Learning rate of each step.
        losses (list[float]): Training loss of each step.
        smoothed (list[float]): Bias-corrected moving average of the losses.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    smoothed: list[float] = field(default_factory=list)

    def add(self, rate: float, loss: float) -> None:
        """Add a step.

        Args:
            rate (float): Learning rate of the step.
            loss (float): Training loss of the step.
        """
        count = len(self.losses)
        average = self.smoothed[-1] * (1 - SMOOTHING**count) if count else 0.0
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        self.rates.append(rate)
        self.losses.append(loss)
        self.smoothed.append(average / (1 - SMOOTHING ** (count + 1)))

    @property
    def diverged(self) -> bool:
        """bool: Whether the loss is not finite, or far above its minimum."""
        last = self.smoothed[-1]
        return not math.isfinite(last) or last > DIVERGED * min(self.smoothed)

    def suggestions(self) -> dict[str, float]:
        """Suggest two learning rates from the curve.

        Returns:
            dict[str, float]: ``steepest``, at which the smoothed loss decreases fastest over the
            logarithm of the rate, and ``tenth``, a tenth of the rate with the lowest loss.

        Raises:
            UserError: If the test has too few steps.
        """
        finite = [i for i, value in enumerate(self.smoothed) if math.isfinite(value)]
        if len(finite) < LEAST:
            raise UserError(
                f"expected a finite loss in at least {LEAST} steps, got {len(finite)}. Start with "
                "a lower learning rate (--start), or run more steps (--num)"
            )
        losses, rates = np.array(self.smoothed)[finite], np.array(self.rates)[finite]
        lowest = int(losses.argmin())
        slopes = np.gradient(losses, np.log(rates))[: max(lowest, 2)]
        return {"steepest": float(rates[slopes.argmin()]), "tenth": float(rates[lowest] / 10)}


class _RisingRate(Hook):
    """Set the learning rate before each step and record the loss after it."""

    priority = "VERY_LOW"

    def __init__(self, rates: list[float], found: RangeTest) -> None:
        self.rates, self.found = rates, found
        self._bases: list[tuple[dict, float]] = []

    def before_train(self, runner: Runner) -> None:
        # Keep the ratios between the learning rates of parameter groups.
        for wrapper in optim_wrappers(runner.optim_wrapper):
            base = wrapper.optimizer.defaults["lr"]
            groups = wrapper.optimizer.param_groups
            self._bases += [(group, group["lr"] / base) for group in groups]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        for group, multiple in self._bases:
            group["lr"] = self.rates[len(self.found.losses)] * multiple

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        self.found.add(self.rates[len(self.found.losses)], float(outputs["loss"]))


def range_test(
    cfg: Config,
    start: float,
    end: float,
    num: int,
    progress: Callable[[int], None] = lambda done: None,
) -> RangeTest:
    """Train for some steps with a learning rate that increases at each step.

    Args:
        cfg (Config): Training config, which is not modified. The trained weights are discarded.
        start (float): Learning rate of the first step.
        end (float): Learning rate of the last step.
        num (int): Number of steps.
        progress (Callable): Called with the number of each step. Defaults to no action.

    Returns:
        RangeTest: Learning rates and losses until the loss diverged.
    """
    found = RangeTest()
    rates = np.geomspace(start, end, num).tolist()

    def remove_schedulers(copy: Config) -> None:
        copy.param_scheduler = None

    with tempfile.TemporaryDirectory() as folder:
        runner = bare_runner(cfg, folder, remove_schedulers)
        runner.register_hook(_RisingRate(rates, found))
        for done, _ in enumerate(islice(steps_of(runner), num), start=1):
            progress(done)
            if done >= LEAST and found.diverged:
                break
    return found


def range_figure(found: RangeTest, current: float | None) -> Figure:
    """Plot the loss over the learning rate.

    Args:
        found (RangeTest): Result of a learning-rate range test.
        current (float, optional): Learning rate of the config.

    Returns:
        Figure: Losses over the learning rate, with the suggested rates marked.
    """
    figure = new_figure(7, 4.5)
    axis = figure.subplots()
    axis.plot(found.rates, found.losses, color="0.8", label="loss of a step")
    axis.plot(found.rates, found.smoothed, color="tab:blue", label="smoothed")
    marks = {**found.suggestions(), **({} if current is None else {"of the config": current})}
    for color, (name, rate) in zip(
        ("tab:green", "tab:orange", "black"), marks.items(), strict=False
    ):
        axis.axvline(rate, color=color, linestyle="--", label=f"{name}: {rate:.3g}")
    axis.set_xscale("log")
    finite = [value for value in found.smoothed if math.isfinite(value)]
    axis.set_ylim(0.9 * min(finite), min(1.1 * max(finite), 3 * found.smoothed[0]))
    axis.set_xlabel("learning rate")
    axis.set_ylabel("training loss")
    axis.legend()
    return figure
