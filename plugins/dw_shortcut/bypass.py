"""Forward hooks that add a shortcut from the input of one block to the output of another."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.module_tracker import ModuleTracker
from torch.utils.weak import TensorWeakRef

from smallvit.hosts import HostBlock
from smallvit.plugins.dw_shortcut.module import DepthwiseShortcut

_tracker = ModuleTracker()


def _in_backward() -> bool:
    # Gradient checkpointing recomputes modules during the backward pass.
    return not torch.compiler.is_compiling() and _tracker.is_bw


class Bypass:
    """Shortcut around consecutive blocks of one stage, with hooks on the first and last block.

    Args:
        shortcut (DepthwiseShortcut): Module from map (B, C, H, W) to map of the same shape.
        first (HostBlock): Block whose input goes into the shortcut.
        last (HostBlock): Block to whose output the result is added.
    """

    def __init__(self, shortcut: DepthwiseShortcut, first: HostBlock, last: HostBlock) -> None:
        self.shortcut = shortcut
        self.first = first
        self.last = last
        self._held: Tensor | None = None
        self._seen: TensorWeakRef | None = None

    def __getstate__(self) -> dict:
        # Copies and pickles must not contain the tensors of a training step.
        return self.__dict__ | {"_held": None, "_seen": None}

    def place(self) -> None:
        """Register the hooks."""
        if self.first is self.last:
            self.last.module.register_forward_hook(self._add_own_input, with_kwargs=True)
        else:
            self.first.module.register_forward_pre_hook(self._store_input, with_kwargs=True)
            self.last.module.register_forward_hook(self._add_stored_input, with_kwargs=True)

    def _add_own_input(self, module: nn.Module, args: tuple, kwargs: dict, output: Any):
        return self._add(self.first.input_of(args, kwargs), args, kwargs, output)

    def _store_input(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        # When only the first block is recomputed, its input must not stay referenced: the
        # tensor that the last block needs is still alive in the graph, see below.
        tokens = self.first.input_of(args, kwargs)
        if not (_in_backward() and self._stored_input() is tokens):
            self._held = tokens

    def _stored_input(self) -> Tensor | None:
        return self._held if self._seen is None or self._held is not None else self._seen()

    def _add_stored_input(self, module: nn.Module, args: tuple, kwargs: dict, output: Any):
        tokens = self._stored_input()
        if tokens is None:
            raise RuntimeError(
                f"{type(module).__name__} ran without the block where its shortcut starts. Run the "
                "whole backbone, or set bypass=1"
            )
        self._held = None
        # With per-block gradient checkpointing, the last block is recomputed before the first.
        # The graph keeps the tensor alive until then; a strong reference here would keep the
        # tensor and its graph alive into the next step.
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self._seen = TensorWeakRef(tokens)
        return self._add(tokens, args, kwargs, output)

    def _add(self, tokens: Tensor, args: tuple, kwargs: dict, output: Any) -> Any:
        found = self.last.output_of(output)
        feature = self.first.to_map(tokens, self.last.read_grid(found, args, kwargs))
        if _in_backward():
            with self.shortcut.recomputing():
                added = self.last.add_map(found, self.shortcut(feature))
        else:
            added = self.last.add_map(found, self.shortcut(feature))
        return self.last.replace_output(output, added)
