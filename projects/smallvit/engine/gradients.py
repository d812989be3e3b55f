"""Skip optimizer steps whose gradients are NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer


class GradientGuard:
    """Check the gradients before each optimizer step, and skip steps that are not finite.

    If the optimizer wrapper clips gradients by norm, that norm is used: MMEngine has already
    copied it to the CPU. Otherwise the norm is computed. On an accelerator it is read after the
    step, together with the loss (:meth:`finish`), unless steps are to be skipped, which requires
    a synchronization with the device.

    Steps that a loss scaler skips itself are only counted.

    Args:
        wrapper (OptimWrapper or OptimWrapperDict): Optimizer wrapper to guard.
        at_once (bool): Whether to skip bad steps on every device. Defaults to False.
    """

    def __init__(self, wrapper: Any, at_once: bool = False) -> None:
        self.at_once = at_once
        #: Whether an optimizer has stepped since the last :meth:`finish`.
        self.stepped = False
        self._norms: list[float] = []
        self._pending: list[torch.Tensor] = []
        self._handles = [self._register(single) for single in optim_wrappers(wrapper)]

    def _register(self, wrapper: OptimWrapper) -> Any:
        clipped: list[torch.Tensor] = []
        if wrapper.clip_grad_kwargs:
            wrapper.clip_func = partial(_clip_and_record, wrapper.clip_func, clipped)
        hook = (
            self._record_scaled_step if scales_loss(wrapper) else partial(self._check_step, clipped)
        )
        return wrapper.optimizer.register_step_pre_hook(hook)

    def _record_scaled_step(self, optimizer: Optimizer, *_: Any) -> None:
        # Optimizers that unscale gradients themselves are called for skipped steps too.
        skipped = getattr(optimizer, "found_inf", None)
        self.stepped |= skipped is None or not bool(skipped)

    def _check_step(self, clipped: list[torch.Tensor], optimizer: Optimizer, *_: Any) -> None:
        self.stepped = True
        norms = clipped or _norms(optimizer)
        if not (clipped or self.at_once or all(norm.device.type == "cpu" for norm in norms)):
            self._pending += norms
            return
        bad = _not_finite(norms)
        clipped.clear()
        if bad:
            self._norms += bad
            for parameter in _parameters(optimizer):
                parameter.grad = None  # optimizers skip parameters without a gradient

    def finish(self) -> float | None:
        """Return the result of the steps since the last call, and reset it.

        Returns:
            float | None: A gradient norm that was not finite; None if there was none,
            or no step.
        """
        bad = self._norms + _not_finite(self._pending)
        self._norms, self._pending, self.stepped = [], [], False
        return bad[0] if bad else None

    def remove(self) -> None:
        """Remove the guard from the optimizer wrapper."""
        for handle in self._handles:
            handle.remove()


def _clip_and_record(clip: Any, kept: list[torch.Tensor], *args: Any, **kwargs: Any) -> Any:
    norm = clip(*args, **kwargs)
    # Clipping by value computes no norm.
    kept[:] = [] if norm is None else [norm]
    return norm


def _parameters(optimizer: Optimizer) -> Iterator[torch.Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _norms(optimizer: Optimizer) -> list[torch.Tensor]:
    """Gradient norm per device, the cheapest value that reveals a non-finite element."""
    by_kind: dict[tuple, list[torch.Tensor]] = {}
    for parameter in _parameters(optimizer):
        if parameter.grad is not None:
            grad = parameter.grad.detach()
            grad = grad.coalesce().values() if grad.is_sparse else grad
            if grad.numel():
                by_kind.setdefault((grad.device, grad.dtype), []).append(grad)
    return [
        torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        for grads in by_kind.values()
    ]


def _not_finite(norms: list[torch.Tensor]) -> list[float]:
    return [value for value in map(float, norms) if not math.isfinite(value)]


def optim_wrappers(wrapper: Any) -> list[OptimWrapper]:
    """List the optimizer wrappers of single optimizers.

    Args:
        wrapper (OptimWrapper or OptimWrapperDict): One wrapper, or several by name.

    Returns:
        list[OptimWrapper]: Those whose optimizer is a torch optimizer.
    """
    several = getattr(wrapper, "optim_wrappers", None)
    singles = [wrapper] if several is None else list(several.values())
    return [
        single
        for single in singles
        if isinstance(single, OptimWrapper) and isinstance(single.optimizer, Optimizer)
    ]


def scales_loss(wrapper: Any) -> bool:
    """Check whether an optimizer wrapper scales the loss, as ``AmpOptimWrapper`` does.

    Args:
        wrapper (OptimWrapper or OptimWrapperDict): One wrapper, or several by name.

    Returns:
        bool: True if a loss scaler is in use, which skips steps that overflow.
    """
    several = getattr(wrapper, "optim_wrappers", None)
    if several is not None:
        return any(scales_loss(single) for single in several.values())
    scaler = getattr(wrapper, "loss_scaler", None)
    return scaler is not None and scaler.is_enabled()


class RunningStatistics:
    """Snapshot of the running statistics of a model's normalization layers.

    A forward pass with non-finite values corrupts the statistics, whether or not an optimizer
    step follows.

    Args:
        model (nn.Module): The model whose statistics are kept and restored.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers = [
            buffer
            for module in model.modules()
            if isinstance(module, _NormBase)
            for buffer in module.buffers(recurse=False)
        ]
        self.kept = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """Save the current statistics."""
        self._copy(self.kept, self.buffers)

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the saved statistics."""
        self._copy(self.buffers, self.kept)

    @staticmethod
    def _copy(to: list[torch.Tensor], source: list[torch.Tensor]) -> None:
        if to:
            torch._foreach_copy_(to, source)
