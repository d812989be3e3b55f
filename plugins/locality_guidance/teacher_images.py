"""A student's images as its teacher takes them: size, channels and normalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What a data preprocessor of the libraries calls that it turns blue and red around.
_SWITCHES = ("to_rgb", "_channel_conversion", "channel_conversion")
WAYS = ("repeat", "average")


class ChannelMap:
    """Which channels of an image go to the channels of a network.

    Args:
        how (str | Sequence[int], optional): "repeat" takes a gray image once for each channel
            of the network, "average" the mean of the image's channels; numbers are those of the
            image's channels, in the network's order. Defaults to None: images as they are.

    Raises:
        ValueError: If there is no such way.
    """

    def __init__(self, how: str | Sequence[int] | None = None) -> None:
        numbers = not isinstance(how, str) and how is not None
        if numbers and (not how or any(not isinstance(n, int) or n < 0 for n in how)):
            raise ValueError(f"guidance.teacher.channels={how!r}: channels are numbered from 0")
        if not numbers and how is not None and how not in WAYS:
            raise ValueError(
                f"there is no guidance.teacher.channels={how!r}; use 'repeat', 'average', or "
                "numbers of the image's channels, such as (0, 1, 2)"
            )
        self.how = tuple(how) if numbers else how

    def fault(self, given: int, wanted: int) -> str:
        """Say why images do not fit a network.

        Args:
            given (int): Channels of the images.
            wanted (int): Channels that the network takes.

        Returns:
            str: A sentence, empty if they fit.
        """
        images = f"the images have {given} channel{'s' if given > 1 else ''}"
        if self.how is None:
            return "" if given == wanted else f"{images} and the teacher takes {wanted}"
        if self.how == "repeat":
            return "" if given == 1 else f"{images}, and 'repeat' is for gray images, of one"
        if self.how == "average":
            return ""
        if max(self.how) >= given:
            return f"{images}, so there is none of number {max(self.how)}"
        if len(self.how) != wanted:
            return f"{len(self.how)} channels are chosen and the teacher takes {wanted}"
        return ""

    def require(self, given: int, wanted: int) -> None:
        """Refuse images that do not fit.

        Args:
            given (int): Channels of the images.
            wanted (int): Channels that the network takes.

        Raises:
            ValueError: If they do not fit.
        """
        fault = self.fault(given, wanted)
        if fault:
            raise ValueError(
                f"{fault}: set guidance.teacher.channels to 'repeat' (a gray image once for each "
                "channel), 'average' (the mean of the channels) or the numbers of the image's "
                f"channels in the teacher's order, such as {tuple(range(min(given, wanted)))}; or "
                f"give its backbone in_channels={given}, if it was trained so"
            )

    def __call__(self, images: Tensor, wanted: int) -> Tensor:
        """Take the channels.

        Args:
            images (Tensor): (B, C, H, W).
            wanted (int): Channels that the network takes.

        Returns:
            Tensor: (B, wanted, H, W).

        Raises:
            ValueError: If the images do not fit.
        """
        self.require(images.shape[1], wanted)
        if self.how is None:
            return images
        if isinstance(self.how, tuple):
            return images[:, list(self.how)]
        return images.mean(dim=1, keepdim=True).expand(-1, wanted, -1, -1)


def resize(images: Tensor, size: tuple[int, int] | None, antialias: bool) -> Tensor:
    """Bring images to a size, in float32 at least.

    Args:
        images (Tensor): (B, C, H, W).
        size (tuple[int, int], optional): Height and width; None leaves them as they are.
        antialias (bool): Whether they are smoothed before they are shrunk.

    Returns:
        Tensor: (B, C, *size).
    """
    if images.itemsize < 4:  # of a student that was cast as a whole
        images = images.float()
    if size is None:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=antialias)


def renormalize(
    images: Tensor, student: nn.Module, teacher: Mapping, channels: ChannelMap, wanted: int
) -> Tensor:
    """Undo a student's normalization and apply its teacher's.

    Args:
        images (Tensor): (B, C, H, W), normalized for the student.
        student (nn.Module): Its data preprocessor, with ``mean`` and ``std``.
        teacher (Mapping): ``mean``, ``std`` and ``to_rgb`` of the teacher.
        channels (ChannelMap): Which channels it takes.
        wanted (int): How many it takes.

    Returns:
        Tensor: (B, wanted, H, W).
    """
    mean, std = (images.new_tensor(teacher[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    own_mean, own_std = (each.to(images).view(1, -1, 1, 1) for each in (student.mean, student.std))
    if channels.how is not None:
        # Chosen channels are in the teacher's order, and the others are all the same.
        return (channels(images * own_std + own_mean, wanted) - mean) / std
    channels.require(images.shape[1], wanted)
    if images.shape[1] == 3 and is_rgb(teacher) != is_rgb(vars(student)):
        images, own_mean, own_std = images.flip(1), own_mean.flip(1), own_std.flip(1)
    if torch.equal(own_mean.flatten(), mean.flatten()) and torch.equal(
        own_std.flatten(), std.flatten()
    ):
        return images
    return (images * own_std + own_mean - mean) / std


def is_rgb(settings: Mapping) -> bool:
    """Whether images that were read as BGR are turned to RGB."""
    return any(settings.get(name) for name in (*_SWITCHES, "bgr_to_rgb", "rgb_to_bgr"))
