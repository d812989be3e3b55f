"""Mixed precision on any device, in bfloat16 unless float16 is requested."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import TestLoop
from mmengine.structures import BaseDataElement
from torch import nn

from smallvit.errors import UserError
from smallvit.ops.processor import has_bfloat16_instructions
from smallvit.registry import LOOPS, OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under ``torch.autocast``, without a loss scaler, on any device.

    bfloat16 has the range of float32, so that gradients do not underflow and no scaling is
    needed. For float16 use MMEngine's ``AmpOptimWrapper``, which scales the loss and
    runs on accelerators only.

    A CPU without bfloat16 instructions emulates them, ten times slower than float32. Training
    on such a CPU uses float32, which is logged.

    Args:
        dtype (str): Data type of autocast. Defaults to "bfloat16".
        emulate (bool): Use bfloat16 even on a CPU without instructions for it.
            Defaults to False.
        **kwargs: Arguments of :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: If ``dtype`` is not "bfloat16".
    """

    def __init__(self, dtype: str = "bfloat16", emulate: bool = False, **kwargs) -> None:
        if dtype != "bfloat16":
            raise ValueError(
                f"AutocastOptimWrapper supports only bfloat16, got {dtype!r}. Other dtypes require "
                "the loss scaler of AmpOptimWrapper (on GPU)"
            )
        super().__init__(**kwargs)
        self.cast_dtype = torch.bfloat16
        self.autocasts = emulate or get_device() != "cpu" or has_bfloat16_instructions()
        if not self.autocasts:
            print_log(
                "This CPU has no bfloat16 instructions, and emulation is about ten times slower: "
                "training in float32. Set optim_wrapper.emulate=True to train in bfloat16",
                "current",
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast the forward pass, and skip gradient synchronization while accumulating.

        Args:
            model (nn.Module): The model in training.

        Yields:
            None: While the context holds.
        """
        autocast = torch.autocast(get_device(), dtype=self.cast_dtype, enabled=self.autocasts)
        with super().optim_context(model), autocast:
            yield


def use_amp_training(cfg: Config) -> None:
    """Switch a config to mixed-precision training.

    Args:
        cfg (Config): The config, changed in place. An ``AmpOptimWrapper`` is kept.

    Raises:
        ValueError: If its optimizer wrapper is of another type.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get("type", "OptimWrapper")
    if _name(kind) in ("OptimWrapper", "AutocastOptimWrapper"):
        wrapper.type = "smallvit.AutocastOptimWrapper"
        wrapper.emulate = True
    elif _name(kind) != "AmpOptimWrapper":
        raise ValueError(
            f"--amp requires optim_wrapper.type='OptimWrapper', got {kind!r}. Set the precision in "
            "the config instead"
        )


def replace_unsupported_amp(cfg: Config) -> None:
    """Replace ``AmpOptimWrapper`` in a config on a machine without accelerator.

    Args:
        cfg (Config): The config, changed in place.
    """
    wrapper = cfg.get("optim_wrapper")
    if wrapper is None or get_device() != "cpu":
        return
    if _name(wrapper.get("type", "OptimWrapper")) == "AmpOptimWrapper":
        wrapper.type = "smallvit.AutocastOptimWrapper"
        for key in ("loss_scale", "dtype", "use_fsdp"):
            wrapper.pop(key, None)
        print_log("No accelerator: replacing AmpOptimWrapper with smallvit.AutocastOptimWrapper")


@LOOPS.register_module()
class AutocastTestLoop(TestLoop):
    """MMEngine's test loop under ``torch.autocast`` to bfloat16, on any device.

    Predictions are converted to float32: the metrics use numpy, which has no bfloat16.
    """

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Predict and evaluate one batch.

        Args:
            idx (int): Index of the batch.
            data_batch (Sequence[dict]): The batch, as the data loader gives it.
        """
        place = {"batch_idx": idx, "data_batch": data_batch}
        self.runner.call_hook("before_test_iter", **place)
        with torch.autocast(get_device(), dtype=torch.bfloat16):
            outputs = self.runner.model.test_step(data_batch)
        outputs = in_float32(outputs)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook("after_test_iter", **place, outputs=outputs)


def in_float32(value: Any) -> Any:
    """Convert the bfloat16 tensors of predictions to float32.

    Args:
        value (Any): Tensors, data samples (changed in place), or containers of these.

    Returns:
        Any: The same in float32; everything else unchanged.
    """
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, BaseDataElement):
        for key, item in list(value.items()):
            converted = in_float32(item)
            if converted is not item:
                setattr(value, key, converted)
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(in_float32(item) for item in value)
    if isinstance(value, dict):
        return {key: in_float32(item) for key, item in value.items()}
    return value


def autocast_of(precision: str, device: str) -> AbstractContextManager:
    """Select the precision of inference.

    Args:
        precision (str): "fp32", or "bf16" for autocast to bfloat16.
        device (str): Device of the model, such as "cpu" or "cuda:1".

    Returns:
        AbstractContextManager: A reusable context manager.

    Raises:
        UserError: If ``precision`` is neither.
    """
    if precision not in ("fp32", "bf16"):
        raise UserError(
            f"expected precision fp32 or bf16, got {precision!r}. For int8, export a graph with "
            "smallvit export --precision int8"
        )
    if precision == "fp32":
        return nullcontext()
    kind = torch.device(device).type
    if kind == "cpu" and not has_bfloat16_instructions():
        print_log(
            "This CPU has no bfloat16 instructions, and emulation is slower than float32",
            "current",
            level=logging.WARNING,
        )
    return torch.autocast(kind, torch.bfloat16)


def use_amp_testing(cfg: Config) -> None:
    """Switch a config to mixed-precision testing, in bfloat16 on every device.

    Args:
        cfg (Config): The config, changed in place.

    Raises:
        ValueError: If its test loop is not MMEngine's.
    """
    kind = cfg.test_cfg.get("type", "TestLoop")
    if _name(kind) not in ("TestLoop", "AutocastTestLoop"):
        raise ValueError(f"--amp requires test_cfg.type='TestLoop', got {kind!r}")
    cfg.test_cfg.type = "smallvit.AutocastTestLoop"


def _name(kind: str | type) -> str:
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
