"""Conversion of a student's images to its teacher's size, channels and normalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Names of the setting that swaps red and blue in the libraries' data preprocessors.
_SWITCHES = ("to_rgb", "_channel_conversion", "channel_conversion")
WAYS = ("repeat", "average")


class ChannelMap:
    """Conversion of the channels of an image to the input channels of a network.

    Args:
        how (str | Sequence[int], optional): "repeat" repeats a gray image for each channel of the
            network, "average" uses the mean of the image's channels; integers select channels of
            the image, in the order of the network. Defaults to None: no conversion.

    Raises:
        ValueError: If ``how`` is invalid.
    """

    def __init__(self, how: str | Sequence[int] | None = None) -> None:
        numbers = not isinstance(how, str) and how is not None
        if numbers and (not how or any(not isinstance(n, int) or n < 0 for n in how)):
            raise ValueError(f"expected guidance.teacher.channels >= 0, got {how!r}")
        if not numbers and how is not None and how not in WAYS:
            raise ValueError(
                "expected guidance.teacher.channels to be 'repeat', 'average', or indices of image "
                f"channels such as (0, 1, 2), got {how!r}"
            )
        self.how = tuple(how) if numbers else how

    def fault(self, given: int, wanted: int) -> str:
        """Describe why images cannot be converted for a network.

        Args:
            given (int): Channels of the images.
            wanted (int): Input channels of the network.

        Returns:
            str: Reason, empty if the images can be converted.
        """
        images = f"the images have {given} channel{'s' if given > 1 else ''}"
        if self.how is None:
            return "" if given == wanted else f"{images}, but the teacher requires {wanted}"
        if self.how == "repeat":
            return "" if given == 1 else f"{images}, but 'repeat' requires gray images with one"
        if self.how == "average":
            return ""
        if max(self.how) >= given:
            return f"{images}, but channel {max(self.how)} is selected"
        if len(self.how) != wanted:
            return f"{len(self.how)} channels are selected, but the teacher requires {wanted}"
        return ""

    def check(self, given: int, wanted: int) -> None:
        """Check that images can be converted for a network.

        Args:
            given (int): Channels of the images.
            wanted (int): Input channels of the network.

        Raises:
            ValueError: If they cannot be converted.
        """
        fault = self.fault(given, wanted)
        if fault:
            raise ValueError(
                f"{fault}. Set guidance.teacher.channels to 'repeat' (copies of a gray image), "
                "'average' (the mean of the channels) or indices of image channels in the order of "
                f"the teacher, such as {tuple(range(min(given, wanted)))}; or set "
                f"in_channels={given} of its backbone if it was trained like that"
            )

    def __call__(self, images: Tensor, wanted: int) -> Tensor:
        """Convert the channels of images.

        Args:
            images (Tensor): (B, C, H, W).
            wanted (int): Input channels of the network.

        Returns:
            Tensor: (B, wanted, H, W).

        Raises:
            ValueError: If the images cannot be converted.
        """
        self.check(images.shape[1], wanted)
        if self.how is None:
            return images
        if isinstance(self.how, tuple):
            return images[:, list(self.how)]
        return images.mean(dim=1, keepdim=True).expand(-1, wanted, -1, -1)


def resize(images: Tensor, size: tuple[int, int] | None, antialias: bool) -> Tensor:
    """Resize images bilinearly in float32 or higher precision.

    Args:
        images (Tensor): (B, C, H, W).
        size (tuple[int, int], optional): Height and width; None keeps the size.
        antialias (bool): Whether to antialias when downsampling.

    Returns:
        Tensor: (B, C, *size).
    """
    if images.itemsize < 4:  # input of a student that was cast to half precision
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
        student (nn.Module): Data preprocessor of the student, with ``mean`` and ``std``.
        teacher (Mapping): ``mean``, ``std`` and ``to_rgb`` of the teacher.
        channels (ChannelMap): Conversion to the teacher's channels.
        wanted (int): Input channels of the teacher.

    Returns:
        Tensor: (B, wanted, H, W).
    """
    mean, std = (images.new_tensor(teacher[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    own_mean, own_std = (each.to(images).view(1, -1, 1, 1) for each in (student.mean, student.std))
    if channels.how is not None:
        # Selected channels are in the teacher's order; repeated or averaged ones are all equal.
        return (channels(images * own_std + own_mean, wanted) - mean) / std
    channels.check(images.shape[1], wanted)
    if images.shape[1] == 3 and is_rgb(teacher) != is_rgb(vars(student)):
        images, own_mean, own_std = images.flip(1), own_mean.flip(1), own_std.flip(1)
    if torch.equal(own_mean.flatten(), mean.flatten()) and torch.equal(
        own_std.flatten(), std.flatten()
    ):
        return images
    return (images * own_std + own_mean - mean) / std


def is_rgb(settings: Mapping) -> bool:
    """Check whether a preprocessor converts BGR images to RGB."""
    return any(settings.get(name) for name in (*_SWITCHES, "bgr_to_rgb", "rgb_to_bgr"))
