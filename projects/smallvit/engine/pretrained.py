"""Pretrained weights for a part of a model: ``init_cfg=dict(type="Pretrained", ...)``."""

from __future__ import annotations

from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner.checkpoint import _load_checkpoint, load_state_dict
from torch import nn

from smallvit.engine.checkpoint.fit import (
    describe_fit,
    measure_fit,
    require_fit,
    require_resized,
    snapshot_resizable,
    weights_of,
)
from smallvit.engine.checkpoint.resumed import named
from smallvit.engine.timm_files import as_timm_reads
from smallvit.errors import CheckpointError


class CheckedPretrainedInit(PretrainedInit):
    """MMEngine's ``Pretrained`` initializer that refuses a file without matching weights.

    Args:
        checkpoint (str): Path or URL of the checkpoint.
        prefix (str, optional): Load only names with this prefix, which is stripped, such as
            ``"backbone."``. Defaults to None.
        map_location (str): See :func:`torch.load`. Defaults to "cpu".
    """

    def __call__(self, module: nn.Module) -> None:
        """Load the weights of a module.

        Args:
            module (nn.Module): The module to initialize.

        Raises:
            CheckpointError: If the file has no weight of the module.
        """
        state = weights_of(_load_checkpoint(self.checkpoint, map_location=self.map_location))
        if self.prefix is not None:
            state = self._strip(state)
        state = of_timm(module, state, self.checkpoint)
        fit = measure_fit(module, state)
        require_fit(fit, self.checkpoint, type(module).__name__)
        level = 20 if fit.complete else 30
        print_log(describe_fit(fit, self.checkpoint), logger="current", level=level)
        before = snapshot_resizable(module, state)
        kept = {name: value for name, value in state.items() if name not in fit.remade}
        with named(self.checkpoint):
            load_state_dict(module, kept, strict=False, logger="silent")
        require_resized(module, before, self.checkpoint)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())

    def _strip(self, state: dict) -> dict:
        prefix = self.prefix if self.prefix.endswith(".") else f"{self.prefix}."
        found = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        if not found:
            tops = sorted({name.partition(".")[0] for name in state})
            raise CheckpointError(
                f"{self.checkpoint}: no weight starts with prefix={self.prefix!r}; available "
                f"prefixes: {', '.join(tops[:8])}"
            )
        return found


def of_timm(module: nn.Module, state: dict, path: str) -> dict:
    """Convert a timm checkpoint for a backbone that wraps a timm model.

    Args:
        module (nn.Module): Module to load; for other modules, the state dict is unchanged.
        state (dict): State dict of the file.
        path (str): Path of the file, for errors.

    Returns:
        dict: State dict with the names of the module, without timm's classifier.
    """
    network = getattr(module, "timm_model", None)
    if network is None or any(name.startswith("timm_model.") for name in state):
        return state
    found = {f"timm_model.{key}": each for key, each in as_timm_reads(network, state, path).items()}
    own = module.state_dict()
    # A checkpoint of another network is returned unchanged, so that the error lists its names.
    return {key: each for key, each in found.items() if key in own} or state


def install() -> None:
    """Replace MMEngine's initializer for ``init_cfg`` with ``type="Pretrained"``.

    The type name is unchanged because the libraries refer to it.
    """
    WEIGHT_INITIALIZERS.register_module(name="Pretrained", module=CheckedPretrainedInit, force=True)
