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
        blank (bool): Whether it is black outside of the image, instead of going on with the
            border. Defaults to False.
    """

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    blank: bool = False

    @property
    def is_mirrored(self) -> bool:
        """Whether it is flipped left to right."""
        return self.left > self.right

    @property
    def of_mirror(self) -> Window:
        """The same part, as a part of the mirrored image."""
        return replace(self, left=1 - self.left, right=1 - self.right)

    def crop(
        self, top: float, bottom: float, left: float, right: float, blank: bool = False
    ) -> Window:
        """Take a part of this part.

        Args:
            top (float): Upper edge as a fraction of this part; less than 0 is padding.
            bottom (float): Lower edge; more than 1 is padding.
            left (float): Left edge.
            right (float): Right edge.
            blank (bool): Whether padding is black. Defaults to False.

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
        maps (Sequence[Tensor], optional): Maps of the whole image; None if those of its mirror
            are shown.
        window (Window): What the sample shows of it. Defaults to all.
        mirrored (Sequence[Tensor], optional): Maps of the whole image mirrored left to right, for
            windows that are. Defaults to None: the maps themselves are flipped, from which a
            network's maps of the mirrored image differ a little.
        black (Sequence[Tensor], optional): Maps of a black image, for windows that are blank
            outside. Defaults to None: zeros.

    Raises:
        ValueError: If there are no maps at all.
    """

    def __init__(
        self,
        maps: Sequence[Tensor] | None,
        window: Window = WHOLE,
        mirrored: Sequence[Tensor] | None = None,
        black: Sequence[Tensor] | None = None,
    ) -> None:
        if maps is None and mirrored is None:
            raise ValueError("StageMaps needs the maps of the image, or of its mirror")
        self.own = None if maps is None else list(maps)
        self.mirrored = None if mirrored is None else list(mirrored)
        self.black = None if black is None else list(black)
        self.window = window

    @property
    def maps(self) -> list[Tensor]:
        """Whole maps of which :attr:`part` is shown."""
        return self.mirrored if self._shows_mirrored else self.own

    @property
    def part(self) -> Window:
        """The window as a part of :attr:`maps`."""
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
        """The same maps, cut to another part."""
        return StageMaps(self.own, window, self.mirrored, self.black)


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
    # What is not shown is not sent.
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
    """Cut a part out of each map and enlarge it to the map's size, bilinearly.

    Args:
        maps (Tensor): (B, C, H, W).
        windows (Sequence[Window]): One for each map.
        black (Tensor, optional): Map (C, H, W) of a black image, which is seen outside of the
            image where a window is blank there. Defaults to None: zeros.

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
        if black is None:
            return cut * inside[:, None]
        cut = torch.lerp(black.float()[None], cut, inside[:, None])
    return cut


def _inside(start: Tensor, end: Tensor, cells: int) -> Tensor:
    """Part of each cell between two fractions of an axis that is in the image, (B, cells)."""
    steps = torch.linspace(0, 1, cells + 1, device=start.device)
    edges = torch.lerp(start[:, None], end[:, None], steps).clamp_(0, 1)
    return edges.diff(dim=1) * (cells / (end - start))[:, None]
