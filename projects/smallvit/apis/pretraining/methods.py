"""Pretraining methods: model and augmentation pipeline for a backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import nn

from smallvit.errors import HostError, UserError
from smallvit.hosts import MaskedPixels, VisiblePatches, vector_of
from smallvit.registry import MODELS


@dataclass(frozen=True)
class Network:
    """Backbone and properties of its training images.

    Args:
        config (dict): Config of the backbone.
        module (nn.Module): The backbone built from the config.
        size (int): Height and width of the images.
        channels (int): Number of channels of the images.
        images (int): Number of images.
        colors (bool): Whether they are of 8-bit colors, and not of bands. Defaults to True.
    """

    config: dict
    module: nn.Module
    size: int
    channels: int
    images: int
    colors: bool = True

    def probe(self, size: int | None = None) -> torch.Tensor:
        """Create a batch of two random images.

        Args:
            size (int, optional): Height and width. Defaults to None, the size of the images.

        Returns:
            Tensor: (2, C, size, size).
        """
        side = size or self.size
        return torch.rand(2, self.channels, side, side)

    @property
    def width(self) -> int:
        """int: Channels of the feature vector of an image."""
        with torch.no_grad():
            vector = vector_of(self.module(self.probe()))
        if vector is None:
            raise UserError(
                f"{self.config['type']} returns neither a map nor a vector. Use --method masked"
            )
        return vector.shape[1]

    def takes(self, size: int) -> bool:
        """Check whether the backbone supports another image size.

        Args:
            size (int): Height and width to try.

        Returns:
            bool: Whether the forward pass succeeds.
        """
        try:
            with torch.no_grad():
                self.module(self.probe(size))
        except Exception:  # of any type; small crops are then enlarged to the size of the images
            return False
        return True


@dataclass(frozen=True)
class Made:
    """Model and pipeline of a method.

    Args:
        model (dict): Config of the model.
        pipeline (list[dict]): Transforms between loading an image and packing it.
        note (str): Description for the user.
    """

    model: dict[str, Any]
    pipeline: list[dict]
    note: str


def build_network(
    config: dict, size: int, channels: int, images: int, colors: bool = True
) -> Network:
    """Build a backbone to inspect it.

    Args:
        config (dict): Config of the backbone.
        size (int): Height and width of the images.
        channels (int): Number of channels of the images.
        images (int): Number of images.
        colors (bool): Whether they are of 8-bit colors, and not of bands. Defaults to True.

    Returns:
        Network: The backbone in evaluation mode, with the properties of the images.
    """
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        module = MODELS.build(dict(config))
    module.eval()
    return Network(config, module, size, channels, images, colors)


def masked(network: Network) -> Made:
    """Masked image modeling: MAE if the backbone supports dropping patches, else SimMIM.

    Args:
        network (Network): Backbone to pretrain.

    Returns:
        Made: MAE with a decoder of two blocks, or SimMIM with a linear decoder.
    """
    backbone = {"type": "smallvit.MaskedBackbone", "backbone": network.config}
    flip = dict(type="RandomFlip", prob=0.5)
    crop = dict(type="RandomResizedCrop", scale=network.size, crop_ratio_range=(0.2, 1.0))
    try:
        with torch.no_grad():
            tokens, mask, _ = VisiblePatches(network.module).run(network.probe(), 0.75)
        side = round(mask.shape[1] ** 0.5)
        if side**2 != mask.shape[1] or network.size % side:
            raise HostError(f"expected a square grid of patches, got {mask.shape[1]} patches")
    except HostError as error:
        return _simmim(network, backbone, [crop, flip], str(error))
    patch = network.size // side
    width = max(32, min(128, tokens.shape[2]) // 32 * 32)
    model = dict(
        type="MAE",
        backbone=backbone | {"mask_ratio": 0.75},
        neck=dict(
            type="MAEPretrainDecoder",
            num_patches=mask.shape[1],
            patch_size=patch,
            in_chans=network.channels,
            embed_dim=tokens.shape[2],
            decoder_embed_dim=width,
            decoder_depth=2,
            decoder_num_heads=width // 32,
        ),
        head=dict(
            type="MAEPretrainHead",
            norm_pix=True,
            patch_size=patch,
            in_channels=network.channels,
            loss=dict(type="PixelReconstructionLoss", criterion="L2"),
        ),
    )
    note = f"masked autoencoder: 75% of the {side} x {side} patches are dropped"
    if side < 4:
        note += f", which leaves {max(1, round(side**2 / 4))}. Use smaller patches or larger images"
    return Made(model, [crop, flip], note)


def _simmim(network: Network, backbone: dict, steps: list[dict], reason: str) -> Made:
    reason = reason.partition(". Use masked pixels")[0]
    if network.channels != 3:
        raise UserError(
            f"--method masked: MMPretrain's SimMIM requires three channels, got "
            f"{network.channels}; {reason}. Use --method instance or views"
        )
    with torch.no_grad():
        hidden = torch.zeros(2, 1, 1)
        found = MaskedPixels(network.module).run(network.probe(), hidden)
    stride = network.size // found.shape[-1]
    unit = max(network.size // 16, min(stride, network.size // 4))
    unit = next(each for each in range(unit, network.size + 1) if network.size % each == 0)
    generator = dict(
        type="SimMIMMaskGenerator",
        input_size=network.size,
        mask_patch_size=unit,
        model_patch_size=unit,
        mask_ratio=0.6,
    )
    model = dict(
        type="SimMIM",
        backbone=backbone,
        neck=dict(type="SimMIMLinearDecoder", in_channels=found.shape[1], encoder_stride=stride),
        head=dict(
            type="SimMIMHead",
            patch_size=unit,
            loss=dict(type="PixelReconstructionLoss", criterion="L1", channel=3),
        ),
    )
    note = f"masked pixels (SimMIM), 60% in squares of {unit} ({reason})"
    return Made(model, [*steps, generator], note)


def instance(network: Network) -> Made:
    """Instance discrimination: each image is its own class.

    Args:
        network (Network): Backbone to pretrain.

    Returns:
        Made: Classifier with one output per image, with two large and two small crops.
    """
    small, said = _small(network)
    model = dict(
        type="smallvit.InstanceDiscrimination",
        backbone=network.config,
        head=dict(
            type="LinearClsHead",
            num_classes=network.images,
            in_channels=network.width,
            loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        ),
    )
    note = (
        f"instance discrimination with {network.images} classes, one per image: 2 large crops, 2 "
        f"of {small} pixels{said}"
    )
    return Made(model, [_views(network, 2, small)], note)


def views(network: Network) -> Made:
    """Self-distillation between crops, with a moving average of the student as teacher.

    Args:
        network (Network): Backbone to pretrain.

    Returns:
        Made: Student and teacher, with two large and eight small crops.
    """
    small, said = _small(network)
    model = dict(
        type="smallvit.ViewPrediction",
        backbone=network.config,
        neck=dict(type="smallvit.PrototypeNeck", in_channels=network.width),
    )
    note = f"self-distillation: a teacher with 2 large crops, 8 crops of {small} pixels{said}"
    return Made(model, [_views(network, 8, small)], note)


def _small(network: Network) -> tuple[int, str]:
    half = network.size // 2
    if network.takes(half):
        return half, ""
    return network.size, f", enlarged, because the backbone does not accept {half} x {half}"


def _views(network: Network, count: int, small: int) -> dict:
    def crop(size: int, low: float, high: float) -> list[dict]:
        steps = [
            dict(type="RandomResizedCrop", scale=size, crop_ratio_range=(low, high)),
            dict(type="RandomFlip", prob=0.5),
        ]
        if network.channels == 3 and network.colors:
            steps.append(
                dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
            )
        return steps

    return dict(
        type="MultiView",
        num_views=[2, count],
        transforms=[crop(network.size, 0.4, 1.0), crop(small, 0.1, 0.4)],
    )


#: Pretraining methods by name.
METHODS: dict[str, Callable[[Network], Made]] = {
    "masked": masked,
    "instance": instance,
    "views": views,
}
