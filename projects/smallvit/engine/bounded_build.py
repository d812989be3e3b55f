"""Build a model from an untrusted config: known types only, and bounded by its weights' size."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules import module as torch_module

from smallvit.compat.closed_registries import closed_registries
from smallvit.engine.known_types import SCOPES, is_known_object
from smallvit.engine.models import build_model
from smallvit.errors import CheckpointError

#: Maximum ratio of the model's size to that of its weights, in elements and in modules.
SLACK_ELEMENTS, SLACK_MODULES = 1 << 24, 10_000


class _RefusedError(Exception):
    """The config requests something that may not be built."""


def build_stored(cfg: Config, state: Mapping[str, Any], name: str) -> nn.Module:
    """Build the model of a config that is stored in a checkpoint.

    Args:
        cfg (Config): Result of :func:`smallvit.engine.stored_config.read_stored`.
        state (Mapping): The weights in the checkpoint.
        name (str): Path of the checkpoint, for errors.

    Returns:
        nn.Module: The model in evaluation mode.

    Raises:
        CheckpointError: If the config names an unknown type, cannot be built, or
            is larger than the weights.
    """
    scope = cfg.default_scope
    _register(scope)
    try:
        with DefaultScope.overwrite_default_scope(scope), _bounded(state), _closed():
            return build_model(cfg)
    except Exception as error:  # constructors raise anything for wrong arguments
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(
            f"{name}: cannot build the stored config: {reason[:300]}. Pass its config with "
            "--config FILE"
        ) from error


def _register(scope: str) -> None:
    """Import a library's registered types, before imports are disabled."""
    from mmengine.registry import MODELS

    for each in ("smallvit", scope):
        with MODELS.switch_scope_and_registry(each) as registry:
            registry.import_from_location()


def _closed() -> Any:
    return closed_registries(
        SCOPES, is_known_object, lambda what: _RefusedError(f"{what} is not allowed")
    )


@contextmanager
def _bounded(state: Mapping[str, Any]) -> Iterator[None]:
    """Stop building a model that grows beyond the size of the weights."""
    left = {
        "elements": SLACK_ELEMENTS + 2 * sum(getattr(v, "numel", int)() for v in state.values()),
        "modules": SLACK_MODULES + 10 * len(state),
    }
    thread = threading.get_ident()

    def spend(what: str, count: int) -> None:
        if threading.get_ident() != thread:
            return
        left[what] -= count
        if left[what] < 0:
            raise _RefusedError(f"it has many more {what} than the stored weights")

    def of_tensor(_: nn.Module, __: str, value: Any) -> None:
        spend("elements", value.numel() if isinstance(value, torch.Tensor) else 0)

    def of_module(_: nn.Module, __: str, value: Any) -> None:
        spend("modules", 1)

    with ExitStack() as hooks:
        for handle in (
            torch_module.register_module_parameter_registration_hook(of_tensor),
            torch_module.register_module_buffer_registration_hook(of_tensor),
            torch_module.register_module_module_registration_hook(of_module),
        ):
            hooks.callback(handle.remove)
        yield
