"""Training state of modules that is not part of the model's state dict.

A module has such state if it defines ``training_state() -> dict`` and
``load_training_state(state)``; plugins that keep the state dict of a host unchanged use this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn


def _owners(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    if is_model_wrapper(model):
        model = model.module
    for name, module in model.named_modules():
        if hasattr(module, "training_state"):
            yield name, module


def collect_training_state(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Collect the training state of all modules of a model.

    Args:
        model (nn.Module): The model, or a wrapper of it.

    Returns:
        dict[str, dict]: Tensors and plain values, by module name.
    """
    return {name: module.training_state() for name, module in _owners(model)}


def restore_training_state(model: nn.Module, stored: dict[str, dict[str, Any]]) -> None:
    """Restore the result of :func:`collect_training_state`.

    Args:
        model (nn.Module): The model, or a wrapper of it.
        stored (dict[str, dict]): The collected state; modules that are missing in it are
            logged and keep their initial state.
    """
    for name, module in _owners(model):
        if name in stored:
            module.load_training_state(stored[name])
        else:
            print_log(
                f"the checkpoint has no training state of {name}; initializing it", "current", 30
            )
