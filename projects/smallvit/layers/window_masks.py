"""Cached attention masks of shifted windows, by map size.

MMPretrain's Swin recomputes the mask of shifted window attention in each forward pass with a dozen
operators, although it depends only on the map size. These are one eighth of all operator calls,
which dominate the time of small batches.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["MaskCache", "cache_window_masks"]

_MAKES_MASKS = ("mmpretrain.models.utils.attention", "ShiftWindowMSA.get_attn_mask")
#: Number of cached masks; each stage of a network needs one per image size.
MOST_KEPT = 16


class MaskCache:
    """Cache of the most recent attention masks by size and device.

    Args:
        make (Callable): MMPretrain's ``ShiftWindowMSA.get_attn_mask``.
    """

    def __init__(self, make: Callable) -> None:
        self.make = make
        self.kept: dict[tuple, Tensor] = {}

    def __call__(
        self,
        hw_shape: tuple[int, int],
        window_size: int,
        shift_size: int,
        device: torch.device | None = None,
    ) -> Tensor | None:
        """Return the mask (windows, window_size ** 2, window_size ** 2), None without a shift."""
        if shift_size == 0 or _is_watched():
            return self.make(hw_shape, window_size, shift_size, device=device)
        dtype = torch.get_default_dtype()
        key = (tuple(hw_shape), window_size, shift_size, str(device), dtype)
        if key not in self.kept:
            if len(self.kept) == MOST_KEPT:
                del self.kept[next(iter(self.kept))]
            with torch.inference_mode(False):  # so that training can use the cached mask later
                self.kept[key] = self.make(hw_shape, window_size, shift_size, device=device)
        return self.kept[key]

    def __deepcopy__(self, memo: dict) -> MaskCache:
        return MaskCache(self.make)

    def __getstate__(self) -> dict:
        return {"make": self.make, "kept": {}}


def _is_watched() -> bool:
    """Whether a graph capture or a dispatch mode must observe the operators of the mask."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
    )


def cache_window_masks(model: nn.Module) -> None:
    """Make MMPretrain's shifted window attention cache its masks.

    Module instances are changed, not their class. Further calls have no effect.

    Args:
        model (nn.Module): Network with or without such attention, changed in place.
    """
    shared = None
    for module in model.modules():
        make = getattr(module, "get_attn_mask", None)
        name = (getattr(make, "__module__", None), getattr(make, "__qualname__", None))
        if make is not None and name == _MAKES_MASKS:
            shared = shared or MaskCache(make)
            module.get_attn_mask = shared
