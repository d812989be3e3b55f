"""Compile networks with ``torch.compile`` at the start of a run."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from smallvit.engine.compiling import GRAPHS, compile_networks
from smallvit.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile the networks of the model before training or testing; ``--compile`` adds it.

    The teacher of locality guidance is not compiled: a feature store can replace it.

    Args:
        mode (str): Mode of ``torch.compile``: "default", "reduce-overhead" (with CUDA graphs),
            "max-autotune" or "max-autotune-no-cudagraphs". Defaults to "default".
        backend (str): Backend of ``torch.compile``. Defaults to "inductor".
    """

    # Runs after the hooks that replace modules of the model or copy it.
    priority = "VERY_LOW"

    def __init__(self, mode: str = "default", backend: str = "inductor") -> None:
        self.mode, self.backend = mode, backend
        self.compiled = False

    def before_train(self, runner: Runner) -> None:
        """Compile the networks of the model."""
        self._compile(runner)

    before_val = before_test = before_train

    def _compile(self, runner: Runner) -> None:
        if self.compiled:
            return
        names = ", ".join(compile_networks(runner.model, self.mode, self.backend))
        print_log(
            f"compiling {names} with torch.compile(mode={self.mode!r}); the first steps are slow",
            "current",
        )
        self.compiled = True

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Mark the start of a step, so that CUDA graphs may reuse the last step's outputs."""
        if self.mode in GRAPHS:
            torch.compiler.cudagraph_mark_step_begin()

    before_val_iter = before_test_iter = before_train_iter
