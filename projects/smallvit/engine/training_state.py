"""State that serves a training and is no part of the model, so in no state dict of it.

A module has such a state if it has the two methods ``training_state() -> dict`` and
``load_training_state(state)``; plugins that leave a host's state dict as it is have some.
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
    """Ask all modules of a model for the state of their training.

    Args:
        model (nn.Module): The model, or a wrapper of it.

    Returns:
        dict[str, dict]: By the names of the modules; tensors and plain values.
    """
    return {name: module.training_state() for name, module in _owners(model)}


def restore_training_state(model: nn.Module, stored: dict[str, dict[str, Any]]) -> None:
    """Give the modules of a model back what :func:`collect_training_state` collected.

    Args:
        model (nn.Module): The model, or a wrapper of it.
        stored (dict[str, dict]): What was collected; a module that is missing there is
            named in the log and starts anew.
    """
    for name, module in _owners(model):
        if name in stored:
            module.load_training_state(stored[name])
        else:
            print_log(
                f"the checkpoint has no training state of {name}, which starts anew", "current", 30
            )
