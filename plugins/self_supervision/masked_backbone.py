"""Masked forward pass for any backbone, as MMPretrain's MAE and SimMIM call it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from smallvit.hosts import MaskedPixels, VisiblePatches
from smallvit.registry import MODELS


class MaskedForward:
    """Forward pass of a backbone with a mask as an additional argument.

    Args:
        host (nn.Module): Backbone to run.
        mask_ratio (float): Fraction of the patches that MAE drops.
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
            mask (Tensor | bool, optional): None or False masks nothing. True, for MAE, drops
                random patches. A tensor (B, h, w), for SimMIM, masks pixels where it is 1.
                Defaults to True.

        Returns:
            Any: Without a mask, the output of the backbone; for MAE tokens, mask and indices, see
            :meth:`VisiblePatches.run`; for SimMIM a tuple with the map of the last block.

        Raises:
            HostError: If the backbone does not support dropping patches.
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

    Parameter names are preserved, so that checkpoints load into the plain backbone.

    Args:
        backbone (dict): Config of the backbone.
        mask_ratio (float): Fraction of the patches that MAE drops; SimMIM's masks come with the
            data. Defaults to 0.75.

    Returns:
        nn.Module: The backbone itself, whose forward takes a mask.

    Raises:
        ValueError: If ``mask_ratio`` is not between 0 and 1.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(f"expected 0 < mask_ratio < 1, got {mask_ratio}")
    built = MODELS.build(backbone)
    built.forward = MaskedForward(built, mask_ratio)
    return built
