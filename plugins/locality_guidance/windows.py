"""Parts of stored feature maps: noted sample by sample, cut out for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """The part of the stored image that a sample shows, as fractions of height and width.

    Args:
        top (float): Where its upper edge is. Defaults to 0.0.
        bottom (float): Where its lower edge is, above the upper one if the sample is
            flipped. Defaults to 1.0.
        left (float): Where its left edge is. Defaults to 0.0.
        right (float): Where its right edge is, left of the other one if the sample is
            flipped. Defaults to 1.0.
        blank (bool): Whether it is zero outside of the image, instead of going on with the
            border. Defaults to False.
    """

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    blank: bool = False

    def crop(
        self, top: float, bottom: float, left: float, right: float, blank: bool = False
    ) -> Window:
        """Take a part of this part.

        Args:
            top (float): Upper edge as a fraction of this part; less than 0 is padding.
            bottom (float): Lower edge; more than 1 is padding.
            left (float): Left edge.
            right (float): Right edge.
            blank (bool): Whether padding is zero. Defaults to False.

        Returns:
            Window: The part.
        """
        height, width = self.bottom - self.top, self.right - self.left
        return Window(
            self.top + height * top,
            self.top + height * bottom,
            self.left + width * left,
            self.left + width * right,
            self.blank or (blank and (min(top, left) < 0 or max(bottom, right) > 1)),
        )

    def flip(self, direction: str) -> Window:
        """Flip it.

        Args:
            direction (str): "horizontal", "vertical" or "diagonal", which is both.

        Returns:
            Window: The same part, seen from the other side.
        """
        window = self
        if direction in ("horizontal", "diagonal"):
            window = replace(window, left=window.right, right=window.left)
        if direction in ("vertical", "diagonal"):
            window = replace(window, top=window.bottom, bottom=window.top)
        return window


WHOLE = Window()


class StageMaps(Sequence):
    """Feature maps (C_i, H_i, W_i) of the stages of one sample, cut to what it shows.

    The whole maps are kept with the window; items are cut when they are asked for, and those
    of a batch faster by :func:`stack_maps`.

    Args:
        maps (Sequence[Tensor]): Maps of the whole image.
        window (Window): What the sample shows of it. Defaults to all.
    """

    def __init__(self, maps: Sequence[Tensor], window: Window = WHOLE) -> None:
        self.maps = list(maps)
        self.window = window

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> Tensor:
        whole = self.maps[index]
        return cut_out(whole[None], [self.window])[0].to(whole.dtype)

    def showing(self, window: Window) -> StageMaps:
        """The same maps, cut to another part."""
        return StageMaps(self.maps, window)


@dataclass(frozen=True)
class StoredSample:
    """A sample whose maps the guidance reads from its store.

    Args:
        index (int): Its index in the data set.
        key (int): What :func:`sample_key` gives for it.
        window (Window): What the sample shows of the maps. Defaults to all.
    """

    index: int
    key: int
    window: Window = WHOLE

    def showing(self, window: Window) -> StoredSample:
        """The same sample, cut to another part."""
        return replace(self, window=window)


def _reduce(maps: StageMaps) -> tuple:
    return _rebuild, ([each.numpy() for each in maps.maps], maps.window)


def _rebuild(arrays: list[np.ndarray], window: Window) -> StageMaps:
    return StageMaps([torch.from_numpy(each) for each in arrays], window)


# torch would open a file for each tensor that a worker hands over: several for each sample.
ForkingPickler.register(StageMaps, _reduce)


def stack_maps(
    samples: Sequence[Sequence[Tensor]], device: str | torch.device = "cpu"
) -> list[Tensor]:
    """Put the maps of a batch together.

    Args:
        samples (Sequence[Sequence[Tensor]]): Maps (C_i, H_i, W_i) of the stages of each
            sample; :class:`StageMaps` are cut on the device.
        device (str | torch.device): Where they are wanted. Defaults to "cpu".

    Returns:
        list[Tensor]: float32 maps (B, C_i, H_i, W_i) of each stage.
    """
    windows = [getattr(sample, "window", WHOLE) for sample in samples]
    whole = [getattr(sample, "maps", sample) for sample in samples]
    stages = (torch.stack(stage) for stage in zip(*whole, strict=True))
    return [cut_out(stage.to(device), windows) for stage in stages]


def cut_out(maps: Tensor, windows: Sequence[Window]) -> Tensor:
    """Cut a part out of each map and enlarge it to the map's size, bilinearly.

    Args:
        maps (Tensor): (B, C, H, W).
        windows (Sequence[Window]): One for each map.

    Returns:
        Tensor: float32 (B, C, H, W).
    """
    # The CPU has no sampling in half precision.
    maps = maps.float()
    if all(window == WHOLE for window in windows):
        return maps
    edges = maps.new_tensor([[w.top, w.bottom, w.left, w.right] for w in windows])
    top, bottom, left, right = edges.unbind(1)
    zero = torch.zeros_like(top)
    theta = torch.stack(
        (
            torch.stack((right - left, zero, left + right - 1), dim=1),
            torch.stack((zero, bottom - top, top + bottom - 1), dim=1),
        ),
        dim=1,
    )
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    cut = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    blank = [window.blank for window in windows]
    if any(blank):
        height, width = maps.shape[2:]
        inside = _inside(top, bottom, height)[:, :, None] * _inside(left, right, width)[:, None]
        inside[~torch.tensor(blank, device=maps.device)] = 1
        cut *= inside[:, None]
    return cut


def _inside(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Part of each cell between two fractions of an axis that is in the image, (B, cells)."""
    steps = torch.linspace(0, 1, cells + 1, device=start.device)
    edges = torch.lerp(start[:, None], end[:, None], steps).clamp_(0, 1)
    return edges.diff(dim=1) * (cells / (end - start))[:, None]
