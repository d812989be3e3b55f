"""What each method of pretraining makes of a backbone: its model, and views of an image."""

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
    """A backbone, and what the methods need to know of it.

    Args:
        config (dict): Its config.
        module (nn.Module): The backbone as built.
        size (int): Height and width of the images.
        channels (int): Their channels.
        images (int): How many there are.
    """

    config: dict
    module: nn.Module
    size: int
    channels: int
    images: int

    def probe(self, size: int | None = None) -> torch.Tensor:
        """Two random images.

        Args:
            size (int, optional): Their size. Defaults to None, that of the network.

        Returns:
            Tensor: (2, C, size, size).
        """
        side = size or self.size
        return torch.rand(2, self.channels, side, side)

    @property
    def width(self) -> int:
        """int: Channels of the vector that it makes of an image."""
        with torch.no_grad():
            vector = vector_of(self.module(self.probe()))
        if vector is None:
            raise UserError(
                f"{self.config['type']} returns neither a map nor a vector for an image, so that "
                "only --method masked may do for it"
            )
        return vector.shape[1]

    def takes(self, size: int) -> bool:
        """Tell whether it takes images of another size.

        Args:
            size (int): Height and width.

        Returns:
            bool: Whether it does.
        """
        try:
            with torch.no_grad():
                self.module(self.probe(size))
        except Exception:  # whatever it says: the crops get the size of the images
            return False
        return True


@dataclass(frozen=True)
class Made:
    """What a method trains.

    Args:
        model (dict): The model.
        pipeline (list[dict]): Transforms between loading an image and packing it.
        note (str): What is to be said.
    """

    model: dict[str, Any]
    pipeline: list[dict]
    note: str


def build_network(config: dict, size: int, channels: int, images: int) -> Network:
    """Build a backbone to look at it.

    Args:
        config (dict): Its config.
        size (int): Height and width of the images.
        channels (int): Their channels.
        images (int): How many there are.

    Returns:
        Network: The backbone.
    """
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        module = MODELS.build(dict(config))
    module.eval()
    return Network(config, module, size, channels, images)


def masked(network: Network) -> Made:
    """Hide parts of an image and predict their pixels: MAE where patches can be dropped.

    Args:
        network (Network): The backbone.

    Returns:
        Made: A MAE with a decoder of two blocks, or a SimMIM with a linear one.
    """
    backbone = {"type": "smallvit.MaskedBackbone", "backbone": network.config}
    flip = dict(type="RandomFlip", prob=0.5)
    crop = dict(type="RandomResizedCrop", scale=network.size, crop_ratio_range=(0.2, 1.0))
    try:
        with torch.no_grad():
            tokens, mask, _ = VisiblePatches(network.module).run(network.probe(), 0.75)
        side = round(mask.shape[1] ** 0.5)
        if side**2 != mask.shape[1] or network.size % side:
            raise HostError(f"its {mask.shape[1]} patches make no square of the image")
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
        note += (
            f", which leaves {max(1, round(side**2 / 4))}: take smaller patches or larger images"
        )
    return Made(model, [crop, flip], note)


def _simmim(network: Network, backbone: dict, steps: list[dict], reason: str) -> Made:
    if network.channels != 3:
        raise UserError(
            f"--method masked: MMPretrain's SimMIM reads three channels, and these images have "
            f"{network.channels}; {reason}. Take --method instance or views"
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
    reason = reason.partition(";")[0]
    note = f"masked pixels (SimMIM), 60% in squares of {unit}, for {reason}"
    return Made(model, [*steps, generator], note)


def instance(network: Network) -> Made:
    """Make a class of each image.

    Args:
        network (Network): The backbone.

    Returns:
        Made: A classifier with an output for each image, for two large and two small crops.
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
        f"each of the {network.images} images is a class: 2 large crops, 2 of {small} pixels{said}"
    )
    return Made(model, [_views(network, 2, small)], note)


def views(network: Network) -> Made:
    """Let a student predict what its moving average says of a larger crop.

    Args:
        network (Network): The backbone.

    Returns:
        Made: Student and teacher, for two large and eight small crops.
    """
    small, said = _small(network)
    model = dict(
        type="smallvit.ViewPrediction",
        backbone=network.config,
        neck=dict(type="smallvit.PrototypeNeck", in_channels=network.width),
    )
    note = f"a teacher's view of 2 large crops from 8 of {small} pixels{said}"
    return Made(model, [_views(network, 8, small)], note)


def _small(network: Network) -> tuple[int, str]:
    half = network.size // 2
    if network.takes(half):
        return half, ""
    return network.size, f", enlarged, for the backbone takes no {half} x {half}"


def _views(network: Network, count: int, small: int) -> dict:
    def crop(size: int, low: float, high: float) -> list[dict]:
        steps = [
            dict(type="RandomResizedCrop", scale=size, crop_ratio_range=(low, high)),
            dict(type="RandomFlip", prob=0.5),
        ]
        if network.channels == 3:
            steps.append(
                dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
            )
        return steps

    return dict(
        type="MultiView",
        num_views=[2, count],
        transforms=[crop(network.size, 0.4, 1.0), crop(small, 0.1, 0.4)],
    )


#: Methods by name, each from a network to what is trained.
METHODS: dict[str, Callable[[Network], Made]] = {
    "masked": masked,
    "instance": instance,
    "views": views,
}
