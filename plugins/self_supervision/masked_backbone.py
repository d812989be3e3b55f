"""Any backbone for MMPretrain's MAE and SimMIM, which call it with a mask."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from smallvit.hosts import MaskedPixels, VisiblePatches
from smallvit.registry import MODELS


class MaskedForward:
    """The forward of a backbone, with a mask beside the images.

    Args:
        host (nn.Module): The backbone.
        mask_ratio (float): Part of the patches that MAE drops.
    """

    def __init__(self, host: nn.Module, mask_ratio: float) -> None:
        self.host = host
        self.mask_ratio = mask_ratio
        self._visible: VisiblePatches | None = None
        self._pixels: MaskedPixels | None = None

    def __call__(self, x: Tensor, mask: Tensor | bool | None = True) -> Any:
        """Run the backbone.

        Args:
            x (Tensor): Images, (B, C_in, H, W).
            mask (Tensor | bool, optional): None or False runs it as it is. True, for MAE, drops
                random patches. A tensor (B, h, w), for SimMIM, hides pixels where it is 1.
                Defaults to True.

        Returns:
            Any: What the backbone returns; for MAE tokens, mask and places, see
            :meth:`VisiblePatches.run`; for SimMIM a tuple with the map of the last block.

        Raises:
            HostError: If its patches cannot be dropped.
        """
        if mask is None or mask is False:
            return type(self.host).forward(self.host, x)
        if mask is True:
            if self._visible is None:
                self._visible = VisiblePatches(self.host)
            return self._visible.run(x, self.mask_ratio)
        if self._pixels is None:
            self._pixels = MaskedPixels(self.host)
        return (self._pixels.run(x, mask),)


@MODELS.register_module("MaskedBackbone")
def build_masked_backbone(backbone: dict, mask_ratio: float = 0.75) -> nn.Module:
    """Build a backbone that MMPretrain's MAE and SimMIM can call::

        model = dict(
            type="SimMIM",
            backbone=dict(
                type="smallvit.MaskedBackbone", backbone=dict(type="smallvit.DWNet", arch="tiny")
            ),
            ...,
        )

    The names of its parameters stay, so that its checkpoints load into the backbone alone.

    Args:
        backbone (dict): Config of the backbone.
        mask_ratio (float): Part of the patches that MAE drops; SimMIM's masks come with the
            data. Defaults to 0.75.

    Returns:
        nn.Module: The backbone itself, whose forward takes a mask.

    Raises:
        ValueError: If ``mask_ratio`` is not between 0 and 1.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(f"mask_ratio={mask_ratio} must lie between 0 and 1")
    built = MODELS.build(backbone)
    built.forward = MaskedForward(built, mask_ratio)
    return built
