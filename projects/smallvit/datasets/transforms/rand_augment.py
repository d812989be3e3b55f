"""RandAugment from timm for OpenMMLab pipelines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmcv.transforms import BaseTransform
from PIL import Image
from timm.data.auto_augment import AugmentOp, posterize, rand_augment_transform

from smallvit.datasets.transforms.channels import on_any_channels
from smallvit.datasets.transforms.colors import (
    check_colors,
    check_image,
    check_order,
    to_array,
    to_pil,
)
from smallvit.errors import UserError
from smallvit.registry import TRANSFORMS

#: Syntax of timm policies; timm silently ignores sections without a number.
POLICY = re.compile(r"rand(-(m|n|p|mstd|mmax|inc)\d+(\.\d+)?|-t(weights|3aw?))*")
INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "random": (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC),
}


def _posterize(image: Image.Image, bits_to_keep: int, **others: Any) -> Image.Image:
    # For 0 bits, Pillow returned a black image before version 13, which raises an error.
    if bits_to_keep < 1:
        return Image.new(image.mode, image.size)
    return posterize(image, bits_to_keep, **others)


class Operation(BaseTransform):
    """Single operation of a RandAugment policy, such as "ColorIncreasing".

    Args:
        operation (AugmentOp): timm operation to apply.
        channel_order (str): Order of the colors in the image, "rgb" or "bgr".
    """

    def __init__(self, operation: AugmentOp, channel_order: str) -> None:
        if operation.aug_fn is posterize:
            operation.aug_fn = _posterize
        self.operation = operation
        self.name: str = operation.name
        self.channel_order = channel_order

    @property
    def prob(self) -> float:
        """float: Probability that the operation is applied."""
        return self.operation.prob

    @prob.setter
    def prob(self, value: float) -> None:
        self.operation.prob = value

    @on_any_channels
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Apply the operation with probability ``prob``.

        Args:
            results (dict): Sample dict with the key ``img``.

        Returns:
            dict: Sample dict with ``img`` of the same shape and dtype.
        """
        check_image(self.name, results["img"])
        image = to_pil(results["img"], self.channel_order)
        results["img"] = to_array(self.operation(image), self.channel_order)
        return results


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """Apply RandAugment with timm's implementation, which the official repositories use.

    MMPretrain's transform of the same name weights the channels in saturation and contrast as for
    BGR images, whatever the channel order, and rotates and shears with OpenCV.

    Required key: ``img``, uint8 (H, W, C) or (H, W). Shape and dtype do not change. With four or
    more channels, the first three are the colors; the others are transformed like grayscale
    images, with the same random parameters.

    Args:
        policy (str): Policy in timm's syntax: "rand" and sections such as "m9" (magnitude), "n2"
            (operations per image), "p0.5" (probability of an operation), "mstd0.5" (standard
            deviation of the magnitude), "inc1" (operations whose strength increases with the
            magnitude).
        channel_order (str): Order of the colors in ``img``: "bgr" for images read by
            LoadImageFromFile, "rgb" for MMPretrain's CIFAR.
        fill (Sequence[float]): Red, green and blue value (0 to 255) of pixels outside of the
            original image; rounded.
        interpolation (str): "bilinear", "bicubic" or "random", which samples one of the two for
            each operation. Defaults to "bicubic".

    Raises:
        UserError: If an argument is invalid.
    """

    def __init__(
        self,
        policy: str,
        channel_order: str,
        fill: Sequence[float],
        interpolation: str = "bicubic",
    ) -> None:
        owner = type(self).__name__
        if not isinstance(policy, str) or not POLICY.fullmatch(policy):
            raise UserError(
                f"{owner}: expected a policy of timm such as 'rand-m9-mstd0.5-inc1', got "
                f"policy={policy!r}"
            )
        check_order(owner, channel_order)
        check_colors(owner, "fill", fill)
        if interpolation not in INTERPOLATIONS:
            raise UserError(
                f"{owner}: expected interpolation to be one of {', '.join(INTERPOLATIONS)}, got "
                f"{interpolation!r}"
            )
        self.policy = policy
        self.channel_order = channel_order
        self.fill = tuple(min(255, round(value)) for value in fill)
        self.interpolation = interpolation
        self._augment = rand_augment_transform(
            policy, dict(img_mean=self.fill, interpolation=INTERPOLATIONS[interpolation])
        )
        self.num_layers: int = self._augment.num_layers
        self.transforms = [Operation(one, channel_order) for one in self._augment.ops]

    @on_any_channels
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Sample operations and apply them in sequence.

        Args:
            results (dict): Sample dict with the key ``img``.

        Returns:
            dict: Sample dict with ``img`` of the same shape and dtype.

        Raises:
            DataError: If the image is not uint8.
        """
        check_image(type(self).__name__, results["img"])
        image = to_pil(results["img"], self.channel_order)
        changed = self._augment(image)
        if changed is not image:
            results["img"] = to_array(changed, self.channel_order)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(policy={self.policy!r}, channel_order={self.channel_order!r}, "
            f"fill={self.fill}, interpolation={self.interpolation!r})"
        )
