"""What is exported of a model: a module of tensors alone, from images to scores."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.apis.detector_graphs import DetectorGraph
from smallvit.engine.predictions import CLASSIFICATION, SEGMENTATION
from smallvit.errors import UserError
from smallvit.plugins.multi_exit.dynamic_vit import ExitState


class Preprocessing(nn.Module):
    """What a data preprocessor does to images of one size: order of channels, mean, deviation.

    Args:
        preprocessor (nn.Module): Of MMPretrain, or MMEngine's for images.
    """

    def __init__(self, preprocessor: nn.Module) -> None:
        super().__init__()
        swaps = getattr(preprocessor, "to_rgb", getattr(preprocessor, "_channel_conversion", False))
        self.swaps = bool(swaps)
        self.normalizes = bool(getattr(preprocessor, "_enable_normalize", False))
        if self.normalizes:
            self.register_buffer("mean", preprocessor.mean.detach().float().clone().view(-1, 1, 1))
            self.register_buffer("std", preprocessor.std.detach().float().clone().view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Prepare images (B, C, H, W) with values 0 to 255, in the order BGR.

        Args:
            images (Tensor): Of any dtype.

        Returns:
            Tensor: float32.
        """
        images = images.float()
        if self.swaps:
            images = images.flip(1)
        return (images - self.mean) / self.std if self.normalizes else images


class ClassifierGraph(nn.Module):
    """Images to probabilities.

    Args:
        model (nn.Module): A classifier of MMPretrain.
        preprocessing (nn.Module): What comes before it.
    """

    outputs = ("scores",)

    def __init__(self, model: nn.Module, preprocessing: nn.Module) -> None:
        super().__init__()
        self.model, self.preprocessing = model, preprocessing

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, C, H, W); returns scores (B, classes)."""
        logits = self.model(self.preprocessing(images))
        if isinstance(logits, (tuple, list)):  # of a cascade, whose last exit counts
            logits = logits[-1]
        return logits.softmax(dim=1)


class SegmentorGraph(nn.Module):
    """Images to the probabilities of each pixel.

    Args:
        model (nn.Module): A segmentor of MMSegmentation that sees images as a whole.
        preprocessing (nn.Module): What comes before it.
    """

    outputs = ("scores",)

    def __init__(self, model: nn.Module, preprocessing: nn.Module) -> None:
        super().__init__()
        self.model, self.preprocessing = model, preprocessing
        self.align_corners = bool(model.align_corners)

    def forward(self, images: Tensor) -> Tensor:
        """Segment images (B, C, H, W); returns scores (B, classes, H, W)."""
        logits = self.model(self.preprocessing(images), mode="tensor")
        size = images.shape[2:]
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)
        return logits.softmax(dim=1) if logits.shape[1] > 1 else logits.sigmoid()


class ExitGraph(nn.Module):
    """One exit of a cascade: images and what the exit before it left, to scores and the same.

    Args:
        model (nn.Module): A :class:`smallvit.plugins.multi_exit.classifier.MultiExitClassifier`.
        preprocessing (nn.Module): What comes before it.
        index (int): Which exit.
        hw (tuple[int, int], optional): Grid of the exit before it. Defaults to None.
    """

    def __init__(
        self, model: nn.Module, preprocessing: nn.Module, index: int, hw: tuple | None = None
    ) -> None:
        super().__init__()
        self.model, self.preprocessing, self.index, self.hw = model, preprocessing, index, hw
        self.takes = index > 0 and model.backbone.reuses

    def forward(self, images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run the exit.

        Args:
            images (Tensor): (B, C, H, W).
            *state (Tensor): The previous exit's tokens and attention logits, if it reuses them.

        Returns:
            tuple[Tensor, ...]: Logits (B, classes), and the state for the next exit.
        """
        before = ExitState(state[0], self.hw, tuple(state[1:])) if self.takes else None
        feat, after = self.model.backbone.forward_exit(
            self.index, self.preprocessing(images), before
        )
        logits = self.model.head.forward_exit(self.index, feat)
        if after.tokens is None:
            return (logits,)
        return (logits, after.tokens, *after.logits)


def graph_of(model: nn.Module, task: str, preprocesses: bool, images: Tensor) -> nn.Module:
    """Make the module to export of a model.

    Args:
        model (nn.Module): The model.
        task (str): What it predicts.
        preprocesses (bool): Whether the graph takes images as they are, 0 to 255 and BGR.
        images (Tensor): Inputs of the graph, (B, C, H, W), of whose size a detector's graph is.

    Returns:
        nn.Module: From images (B, C, H, W) to scores; of a detector from one image to boxes.

    Raises:
        UserError: If there is no such graph of the model.
    """
    before: Any = Preprocessing(model.data_preprocessor) if preprocesses else nn.Identity()
    if task == CLASSIFICATION:
        return ClassifierGraph(model, before).eval()
    if task == SEGMENTATION:
        if model.test_cfg.get("mode", "whole") != "whole":
            raise UserError(
                "the model slides a window over images, which is a loop around the network: set "
                "model.test_cfg.mode='whole' in a config and give it by --config"
            )
        return SegmentorGraph(model, before).eval()
    return DetectorGraph(model, before, images[:1]).eval()


class BackboneGraph(nn.Module):
    """Images to the maps that a backbone and its neck return.

    Args:
        model (nn.Module): A detector or segmentor.
        preprocessing (nn.Module): What comes before it.
    """

    def __init__(self, model: nn.Module, preprocessing: nn.Module) -> None:
        super().__init__()
        self.model, self.preprocessing = model, preprocessing

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of images (B, C, H, W)."""
        return tuple(self.model.extract_feat(self.preprocessing(images)))


def backbone_of(model: nn.Module, preprocesses: bool) -> nn.Module:
    """Make the module to export of a detector's or segmentor's backbone with its neck.

    Args:
        model (nn.Module): The model.
        preprocesses (bool): As for :func:`graph_of`.

    Returns:
        nn.Module: From images to maps.
    """
    before: Any = Preprocessing(model.data_preprocessor) if preprocesses else nn.Identity()
    return BackboneGraph(model, before).eval()


def run_all(graph: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Run a graph in PyTorch.

    Args:
        graph (nn.Module): The module.
        *inputs (Tensor): Its inputs.

    Returns:
        tuple[Tensor, ...]: Its outputs.
    """
    with torch.no_grad():
        found = graph(*inputs)
    return found if isinstance(found, tuple) else (found,)
