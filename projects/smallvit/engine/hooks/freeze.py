"""Freeze parts of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from smallvit.errors import UserError
from smallvit.registry import HOOKS


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freeze parts of a model: no gradients, and norm layers use their stored statistics.

    Args:
        modules (Sequence[str]): Names of the submodules to freeze, such as ``backbone``.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = tuple(modules)

    def before_run(self, runner: Runner) -> None:
        """Freeze the parameters; refuse unknown submodules, and a model with nothing to train."""
        for part in self._parts(runner):
            part.requires_grad_(False)
        if not any(one.requires_grad for one in runner.model.parameters()):
            raise UserError(
                f"FreezeHook: freezing {', '.join(self.modules)} leaves no parameter to train. "
                "Freeze fewer modules"
            )

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Set frozen submodules to evaluation mode again, after ``model.train()`` in each epoch."""
        for part in self._parts(runner):
            if part.training:
                part.eval()

    def _parts(self, runner: Runner) -> Iterator[nn.Module]:
        model = getattr(runner.model, "module", runner.model)
        for name in self.modules:
            try:
                yield model.get_submodule(name)
            except AttributeError:
                parts = ", ".join(key for key, _ in model.named_children())
                raise UserError(
                    f"FreezeHook: the model has no submodule {name!r}; available: {parts}"
                ) from None
