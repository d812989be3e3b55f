"""Crops of stored feature maps, recorded per sample and applied to whole batches."""

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
    """Region of the stored image that a sample shows, as fractions of height and width.

    Args:
        top (float): Position of the upper edge. Defaults to 0.0.
        bottom (float): Position of the lower edge, less than ``top`` if the sample is
            flipped vertically. Defaults to 1.0.
        left (float): Position of the left edge. Defaults to 0.0.
        right (float): Position of the right edge, less than ``left`` if the sample is
            flipped horizontally. Defaults to 1.0.
        blank (bool): Whether the outside of the image is black instead of a repetition of its
            border. Defaults to False.
    """

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    blank: bool = False

    @property
    def is_mirrored(self) -> bool:
        """bool: Whether the window is flipped horizontally."""
        return self.left > self.right

    @property
    def of_mirror(self) -> Window:
        """Window: The same region in coordinates of the horizontally flipped image."""
        return replace(self, left=1 - self.left, right=1 - self.right)

    def crop(
        self, top: float, bottom: float, left: float, right: float, blank: bool = False
    ) -> Window:
        """Crop the window.

        Args:
            top (float): Upper edge as a fraction of this window; less than 0 is padding.
            bottom (float): Lower edge; more than 1 is padding.
            left (float): Left edge; less than 0 is padding.
            right (float): Right edge; more than 1 is padding.
            blank (bool): Whether padding is black. Defaults to False.

        Returns:
            Window: The cropped window.
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
        """Flip the window.

        Args:
            direction (str): "horizontal", "vertical" or "diagonal", which is both.

        Returns:
            Window: The flipped window.
        """
        window = self
        if direction in ("horizontal", "diagonal"):
            window = replace(window, left=window.right, right=window.left)
        if direction in ("vertical", "diagonal"):
            window = replace(window, top=window.bottom, bottom=window.top)
        return window


WHOLE = Window()


class StageMaps(Sequence):
    """Feature maps (C_i, H_i, W_i) of the stages of one sample, cropped to its window.

    The whole maps are stored with the window; items are cropped on access, and whole batches
    faster by :func:`stack_maps`.

    Args:
        maps (Sequence[Tensor], optional): Maps of the whole image; None if only those of the
            flipped image are given.
        window (Window): Region that the sample shows. Defaults to the whole image.
        mirrored (Sequence[Tensor], optional): Maps of the horizontally flipped whole image, for
            flipped windows. Defaults to None: the maps themselves are flipped, which differ
            slightly from a network's maps of the flipped image.
        black (Sequence[Tensor], optional): Maps of a black image, for windows with black padding.
            Defaults to None: zeros.

    Raises:
        ValueError: If neither ``maps`` nor ``mirrored`` is given.
    """

    def __init__(
        self,
        maps: Sequence[Tensor] | None,
        window: Window = WHOLE,
        mirrored: Sequence[Tensor] | None = None,
        black: Sequence[Tensor] | None = None,
    ) -> None:
        if maps is None and mirrored is None:
            raise ValueError("StageMaps requires the maps of the image or of its mirror image")
        self.own = None if maps is None else list(maps)
        self.mirrored = None if mirrored is None else list(mirrored)
        self.black = None if black is None else list(black)
        self.window = window

    @property
    def maps(self) -> list[Tensor]:
        """list[Tensor]: Whole maps of which :attr:`part` is shown."""
        return self.mirrored if self._shows_mirrored else self.own

    @property
    def part(self) -> Window:
        """Window: The window in coordinates of :attr:`maps`."""
        return self.window.of_mirror if self._shows_mirrored else self.window

    @property
    def _shows_mirrored(self) -> bool:
        return self.own is None or (self.mirrored is not None and self.window.is_mirrored)

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> Tensor:
        whole = self.maps[index]
        black = None if self.black is None else self.black[index]
        return cut_out(whole[None], [self.part], black)[0].to(whole.dtype)

    def showing(self, window: Window) -> StageMaps:
        """Return the same maps with another window."""
        return StageMaps(self.own, window, self.mirrored, self.black)


@dataclass(frozen=True)
class StoredSample:
    """Reference to a sample whose maps the guidance reads from its store.

    Args:
        index (int): Index of the sample in the dataset.
        key (int): Output of :func:`sample_key` for the sample.
        window (Window): Region that the sample shows. Defaults to the whole image.
    """

    index: int
    key: int
    window: Window = WHOLE

    def showing(self, window: Window) -> StoredSample:
        """Return the same sample with another window."""
        return replace(self, window=window)


def _reduce(maps: StageMaps) -> tuple:
    # Only maps that the window needs are sent to the main process.
    shown = [each.numpy() for each in maps.maps]
    own, mirrored = (None, shown) if maps._shows_mirrored else (shown, None)
    blank = maps.black is not None and maps.window.blank
    black = [each.numpy() for each in maps.black] if blank else None
    return _rebuild, (own, maps.window, mirrored, black)


def _rebuild(
    own: list[np.ndarray] | None,
    window: Window,
    mirrored: list[np.ndarray] | None,
    black: list[np.ndarray] | None,
) -> StageMaps:
    own, mirrored, black = (
        None if arrays is None else [torch.from_numpy(each) for each in arrays]
        for arrays in (own, mirrored, black)
    )
    return StageMaps(own, window, mirrored, black)


# torch would open a file for each tensor that a worker sends, which is several per sample.
ForkingPickler.register(StageMaps, _reduce)


def stack_maps(
    samples: Sequence[Sequence[Tensor]], device: str | torch.device = "cpu"
) -> list[Tensor]:
    """Stack the maps of a batch.

    Args:
        samples (Sequence[Sequence[Tensor]]): Maps (C_i, H_i, W_i) of the stages of each
            sample; :class:`StageMaps` are cropped on the device.
        device (str | torch.device): Device of the result. Defaults to "cpu".

    Returns:
        list[Tensor]: float32 maps (B, C_i, H_i, W_i) of each stage.
    """
    windows = [getattr(sample, "part", WHOLE) for sample in samples]
    whole = [getattr(sample, "maps", sample) for sample in samples]
    blacks = (getattr(sample, "black", None) for sample in samples if _is_blank(sample))
    black = next((each for each in blacks if each is not None), None)
    stages = [torch.stack(stage).to(device) for stage in zip(*whole, strict=True)]
    return [
        cut_out(stage, windows, None if black is None else black[number].to(device))
        for number, stage in enumerate(stages)
    ]


def _is_blank(sample: Sequence[Tensor]) -> bool:
    return getattr(sample, "window", WHOLE).blank


def cut_out(maps: Tensor, windows: Sequence[Window], black: Tensor | None = None) -> Tensor:
    """Crop each map to its window and resize the crop bilinearly to the size of the map.

    Args:
        maps (Tensor): (B, C, H, W).
        windows (Sequence[Window]): Window of each map.
        black (Tensor, optional): Map (C, H, W) of a black image, used outside of the image for
            windows with ``blank``. Defaults to None: zeros.

    Returns:
        Tensor: Cropped maps, float32 (B, C, H, W).
    """
    # grid_sample does not support half precision on the CPU.
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
        if black is None:
            return cut * inside[:, None]
        cut = torch.lerp(black.float()[None], cut, inside[:, None])
    return cut


def _inside(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Compute the fraction of each cell that lies in the image along one axis, (B, cells)."""
    steps = torch.linspace(0, 1, cells + 1, device=start.device)
    edges = torch.lerp(start[:, None], end[:, None], steps).clamp_(0, 1)
    return edges.diff(dim=1) * (cells / (end - start))[:, None]
