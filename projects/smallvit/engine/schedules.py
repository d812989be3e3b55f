"""Learning-rate schedules of the official training loops that MMEngine does not provide.

Both schedulers compute the rate from the step number alone. Warm-up and decay form one curve, as
in timm and mmcv 1.x: the decay is counted from the start of training, and the warm-up replaces or
scales its first part.
"""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from smallvit.errors import CheckpointError
from smallvit.registry import PARAM_SCHEDULERS


class ClosedFormLR(LRSchedulerMixin, _ParamScheduler):
    """Base class of schedulers whose rate is a function of the step and the initial rate.

    A checkpoint stores the number of steps, not the settings: a resumed run follows the
    schedule of its config.
    """

    #: Settings in epochs, which ``convert_to_iter_based`` converts to iterations.
    _durations: tuple[str, ...] = ()

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> ClosedFormLR:
        """Build an iteration-based scheduler from settings in epochs.

        Args:
            args: Positional arguments of the class.
            begin (int): First epoch. Defaults to 0.
            end (int): Epoch from which the rate is constant. Defaults to INF.
            by_epoch (bool): Must be True. Defaults to True.
            epoch_length (int, optional): Iterations of an epoch. Defaults to None.
            kwargs: Other arguments of the class.

        Returns:
        ClosedFormLR: Scheduler with its settings converted to iterations.

        Raises:
            ValueError: If the settings are not in epochs, or ``epoch_length`` is missing.
        """
        if not by_epoch or not epoch_length:
            raise ValueError(
                f"{cls.__name__}: convert_to_iter_based requires by_epoch=True and epoch_length, "
                f"got by_epoch={by_epoch}, epoch_length={epoch_length}"
            )
        for name in cls._durations:
            if kwargs.get(name) is not None:
                kwargs[name] = int(kwargs[name] * epoch_length)
        end = end if end == INF else int(end * epoch_length)
        return cls(*args, begin=int(begin * epoch_length), end=end, by_epoch=False, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps, their unit and the last rates.

        Returns:
        dict: State for :meth:`load_state_dict`.
        """
        return {
            "_global_step": self._global_step,
            "by_epoch": self.by_epoch,
            "_last_value": self._last_value,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of steps from a state of this class or of MMEngine's schedulers.

        Args:
            state_dict (dict): Result of :meth:`state_dict`.

        Raises:
            CheckpointError: If the steps were counted in another unit.
        """
        if bool(state_dict["by_epoch"]) != self.by_epoch:
            units = ("epochs", "iterations") if state_dict["by_epoch"] else ("iterations", "epochs")
            raise CheckpointError(
                f"the learning rate schedule of the checkpoint counts {units[0]}, but "
                f"{type(self).__name__} of this config counts {units[1]}. Resume with the original "
                "config, or start a new training with load_from"
            )
        self._global_step = state_dict["_global_step"]
        self._last_value = list(state_dict.get("_last_value", self._last_value))
        self.last_step = min(max(self._global_step - self.begin, -1), self.end - self.begin - 1)

    def jump(self, step: int) -> None:
        """Set step and rates as if :meth:`step` had been called that often.

        Args:
            step (int): Number of steps.
        """
        self.load_state_dict({**self.state_dict(), "_global_step": step})
        if self.last_step >= 0:  # the schedule has started
            for group, rate in zip(self.optimizer.param_groups, self._get_value(), strict=True):
                group[self.param_name] = rate
        self._last_value = [group[self.param_name] for group in self.optimizer.param_groups]

    def _get_value(self) -> list[float]:
        return [self._rate(base, self.last_step) for base in self.base_values]

    def _rate(self, base: float, step: int) -> float:
        raise NotImplementedError


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(ClosedFormLR):
    """Linear warm-up and half a cosine, as timm's ``CosineLRScheduler`` computes them.

    Without ``warmup_prefix`` the cosine starts at step 0 and the warm-up replaces its first
    part, so that the rate drops where the cosine takes over.

    Args:
        optimizer (Optimizer or BaseOptimWrapper): Wrapped optimizer.
        warmup (int): Steps of the warm-up. Defaults to 0.
        warmup_start (float): Rate at step 0, whatever the initial rate. Defaults to 0.0.
        warmup_start_ratio (float, optional): Rate at step 0 as a fraction of the initial rate,
            in place of ``warmup_start``. Defaults to None.
        warmup_prefix (bool): Whether the cosine starts after the warm-up. Defaults to False.
        eta_min (float): Rate at the end of the cosine and after it. Defaults to 0.0.
        eta_min_ratio (float, optional): The same as a fraction of the initial rate, in place of
            ``eta_min``. Defaults to None.
        T_max (int, optional): Number of steps of the half cosine. Defaults to None, the steps
            from ``begin`` to ``end``, minus the warm-up with ``warmup_prefix``.
        delay (int): Number of steps by which the rate lags behind: a loop that passes the number
            of the completed step to the scheduler trains its second step at the rate of the first.
            Defaults to 0.
        begin (int): First step. Defaults to 0.
        end (int): Step from which the rate is constant; by default the Runner sets the
            length of the training. Defaults to INF.
        kwargs: ``last_step``, ``by_epoch`` and ``verbose`` of MMEngine's schedulers.

    Raises:
        ValueError: If a rate is given in both ways, or the cosine has no length.
    """

    _durations = ("warmup", "T_max")

    def __init__(
        self,
        optimizer: Any,
        warmup: int = 0,
        warmup_start: float = 0.0,
        warmup_start_ratio: float | None = None,
        warmup_prefix: bool = False,
        eta_min: float = 0.0,
        eta_min_ratio: float | None = None,
        T_max: int | None = None,
        delay: int = 0,
        begin: int = 0,
        end: int = INF,
        **kwargs: Any,
    ) -> None:
        _check_one_given("warmup_start", warmup_start, warmup_start_ratio)
        _check_one_given("eta_min", eta_min, eta_min_ratio)
        if T_max is None:
            T_max = end - begin - (warmup if warmup_prefix else 0)
        if T_max < 1 or warmup < 0 or delay < 0:
            raise ValueError(
                f"WarmupCosineLR: expected T_max > 0, warmup >= 0 and delay >= 0, got "
                f"T_max={T_max}, warmup={warmup}, delay={delay} (begin={begin}, end={end})"
            )
        self.T_max = T_max
        self.warmup = warmup
        self.warmup_prefix = warmup_prefix
        self.warmup_start, self.warmup_start_ratio = warmup_start, warmup_start_ratio
        self.eta_min, self.eta_min_ratio = eta_min, eta_min_ratio
        self.delay = delay
        super().__init__(optimizer, begin=begin, end=end, **kwargs)

    def _rate(self, base: float, step: int) -> float:
        step = max(step - self.delay, 0)
        if step < self.warmup:
            start = _value(base, self.warmup_start, self.warmup_start_ratio)
            return start + step * (base - start) / self.warmup
        lowest = _value(base, self.eta_min, self.eta_min_ratio)
        step -= self.warmup if self.warmup_prefix else 0
        if step >= self.T_max:
            return lowest
        return lowest + 0.5 * (base - lowest) * (1 + math.cos(math.pi * step / self.T_max))


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(ClosedFormLR):
    """Polynomial decay scaled by a linear warm-up, as mmcv 1.x computes it.

    The decay runs from ``begin`` to ``end``; during the warm-up it is multiplied by a factor
    that rises to 1.

    Args:
        optimizer (Optimizer or BaseOptimWrapper): Wrapped optimizer.
        end (int): Step at which the decay ends; without one, the Runner sets the length of
            the training.
        power (float): Exponent of the decay. Defaults to 1.0.
        eta_min (float): Rate at the end. Defaults to 0.0.
        warmup (int): Steps of the warm-up. Defaults to 0.
        warmup_ratio (float): Factor at step 0. Defaults to 0.1.
        begin (int): First step. Defaults to 0.
        kwargs: ``last_step``, ``by_epoch`` and ``verbose`` of MMEngine's schedulers.
    """

    _durations = ("warmup",)

    def __init__(
        self,
        optimizer: Any,
        end: int,
        power: float = 1.0,
        eta_min: float = 0.0,
        warmup: int = 0,
        warmup_ratio: float = 0.1,
        begin: int = 0,
        **kwargs: Any,
    ) -> None:
        self.power = power
        self.eta_min = eta_min
        self.warmup = warmup
        self.warmup_ratio = warmup_ratio
        super().__init__(optimizer, begin=begin, end=end, **kwargs)

    def _rate(self, base: float, step: int) -> float:
        left = (1 - step / (self.end - self.begin)) ** self.power
        rate = (base - self.eta_min) * left + self.eta_min
        if step >= self.warmup:
            return rate
        return rate * (1 - (1 - step / self.warmup) * (1 - self.warmup_ratio))


def _check_one_given(name: str, value: float, ratio: float | None) -> None:
    if value and ratio is not None:
        raise ValueError(
            f"WarmupCosineLR: {name}={value} and {name}_ratio={ratio} are mutually exclusive. To "
            f"reset an inherited value, set {name}=0.0 or {name}_ratio=None"
        )


def _value(base: float, value: float, ratio: float | None) -> float:
    return value if ratio is None else base * ratio
