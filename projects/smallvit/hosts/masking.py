"""Masked inputs for a backbone: visible patches only (MAE), or masked pixels (SimMIM)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.block import HostBlock
from smallvit.hosts.probe import channels_for, sizes_for
from smallvit.hosts.rest import dry_run_mode
from smallvit.hosts.taps import Taps
from smallvit.hosts.view import HostView, view_host


class _LastBlockReached(Exception):  # noqa: N818 control flow, not an error
    """Stops the forward pass after the last block, as later layers may need all patches."""


class VisiblePatches:
    """Run the blocks of a plain transformer on a random subset of the patches.

    Args:
        host (nn.Module): Backbone with a single stage.

    Raises:
        HostError: If its blocks need all patches, as convolutions and windows do, or if it has
            several stages.
    """

    def __init__(self, host: nn.Module) -> None:
        view = view_host(host)
        name = type(host).__name__
        if len(view.stages) > 1 or any(block.layout != "BNC" for block in view.blocks):
            raise HostError(
                f"cannot drop patches of {name}: it has {len(view.stages)} stages of blocks with "
                f"layout {view.blocks[0].layout}. Use masked pixels (SimMIM) instead"
            )
        self._host = host
        self._first, self._last = view.blocks[0], view.blocks[-1]
        view.watch()
        try:
            leak = _leak(self, host)
        except Exception as error:
            said = re.split(r"[;\n]|\. ", str(error), maxsplit=1)[0]
            raise HostError(
                f"cannot drop patches of {name}: its blocks require all of them "
                f"({type(error).__name__}: {said}). Use masked pixels (SimMIM) instead"
            ) from error
        if leak:
            raise HostError(
                f"cannot drop patches of {name}: dropped patches affect the others. Use masked "
                "pixels (SimMIM) instead"
            )

    def run(self, images: Tensor, mask_ratio: float) -> tuple[Tensor, Tensor, Tensor]:
        """Run the blocks on a random subset of the patches.

        Args:
            images (Tensor): Images (B, C_in, H, W).
            mask_ratio (float): Fraction of the patches to drop.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Output tokens of the last block (B, 1 + visible, C),
            where the class token or else the mean of the visible patches comes first; the
            mask (B, N), 1 for dropped patches; and the indices (B, N) that restore the order of
            the patches from the visible ones followed by the dropped ones.
        """
        dropping = _Dropping(self._first, self._last, mask_ratio)
        handles = (
            self._first.module.register_forward_pre_hook(dropping.before, with_kwargs=True),
            self._last.module.register_forward_hook(dropping.after),
        )
        try:
            type(self._host).forward(self._host, images)
        except _LastBlockReached:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return dropping.tokens, dropping.mask, dropping.places


class _Dropping:
    """Hooks that drop patches before the first block and stop the forward pass after the last."""

    def __init__(self, first: HostBlock, last: HostBlock, mask_ratio: float) -> None:
        self.first, self.last, self.mask_ratio = first, last, mask_ratio
        self.tokens = self.mask = self.places = torch.empty(0)

    def before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        tokens = self.first.input_of(args, kwargs)
        hw = self.first.read_grid(tokens, args, kwargs)
        count = hw[0] * hw[1]
        end = tokens.shape[1] - self.first.tokens_behind
        patches = tokens[:, end - count : end]
        keep = max(1, round(count * (1 - self.mask_ratio)))
        order = torch.rand(len(tokens), count, device=tokens.device).argsort(dim=1)
        self.places = order.argsort(dim=1)
        self.mask = (self.places >= keep).to(tokens.dtype)
        index = order[:, :keep, None].expand(-1, -1, tokens.shape[2])
        parts = (tokens[:, : end - count], patches.gather(1, index), tokens[:, end:])
        self.front, self.keep = end - count, keep
        return _replace(self.first, args, kwargs, torch.cat(parts, dim=1))

    def after(self, module: nn.Module, args: tuple, output: Any) -> None:
        tokens = self.last.output_of(output)
        patches = tokens[:, self.front : self.front + self.keep]
        one = tokens[:, :1] if self.front else patches.mean(dim=1, keepdim=True)
        self.tokens = torch.cat((one, patches), dim=1)
        raise _LastBlockReached


def _replace(block: HostBlock, args: tuple, kwargs: Mapping, tokens: Tensor) -> tuple[tuple, dict]:
    if isinstance(block.key, str):
        return args, {**kwargs, block.key: tokens}
    return (*args[: block.key], tokens, *args[block.key + 1 :]), dict(kwargs)


def _leak(visible: VisiblePatches, host: nn.Module) -> bool:
    """Whether pixels of dropped patches affect the output."""
    weight = next(p for p in host.parameters() if p.is_floating_point())
    errors: list[Exception] = []
    with dry_run_mode(host), torch.no_grad(), torch.random.fork_rng(devices=[]):
        for size, channels in product(sizes_for(host), channels_for(host)):
            images = torch.rand(2, channels, *size).to(weight)
            try:
                torch.manual_seed(0)
                tokens, mask, _ = visible.run(images, 0.5)
            except Exception as raised:  # try the next size
                errors.append(raised)
                continue
            dropped = F.interpolate(mask.reshape(2, 1, *_grid_of(mask, size)), size=size)
            torch.manual_seed(0)
            others, _, _ = visible.run(images + dropped, 0.5)
            return not torch.allclose(tokens, others, atol=1e-4)
    # An error about a wrong number of channels does not describe the backbone.
    raise next((error for error in errors if "channels, but got" not in str(error)), errors[0])


def _grid_of(mask: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    rows = round((mask.shape[1] * size[0] / size[1]) ** 0.5)
    return rows, mask.shape[1] // rows


class MaskedPixels:
    """Run a backbone on images whose masked pixels are set to the mean color.

    Args:
        host (nn.Module): Backbone, see :func:`~smallvit.hosts.view_host`.

    Raises:
        HostError: If the backbone is not supported.
    """

    def __init__(self, host: nn.Module) -> None:
        self._host = host
        self._taps = Taps(_watched(host), [-1])

    def run(self, images: Tensor, mask: Tensor) -> Tensor:
        """Run the backbone.

        Args:
            images (Tensor): Normalized images (B, C_in, H, W).
            mask (Tensor): Mask (B, h, w), 1 for masked parts of the image.

        Returns:
            Tensor: Feature map of the last block, (B, C, H / stride, W / stride).
        """
        hidden = F.interpolate(mask[:, None].to(images), size=images.shape[2:])
        _, maps = self._taps.run(
            type(self._host).forward.__get__(self._host), images * (1 - hidden)
        )
        return maps[0]


def _watched(host: nn.Module) -> HostView:
    view = view_host(host)
    view.watch()
    return view
