"""Exportable modules with tensor inputs and outputs, from images to scores."""

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
    """Channel order and normalization of a data preprocessor.

    Args:
        preprocessor (nn.Module): Data preprocessor of MMPretrain, or MMEngine's for images.
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
        """Preprocess images.

        Args:
            images (Tensor): (B, C, H, W) with values 0 to 255 in BGR order, of any dtype.

        Returns:
            Tensor: Preprocessed images, float32 (B, C, H, W).
        """
        images = images.float()
        if self.swaps:
            images = images.flip(1)
        return (images - self.mean) / self.std if self.normalizes else images


class ClassifierGraph(nn.Module):
    """Classifier that returns probabilities.

    Args:
        model (nn.Module): A classifier of MMPretrain.
        preprocessing (nn.Module): Preprocessing of the images.
    """

    outputs = ("scores",)

    def __init__(self, model: nn.Module, preprocessing: nn.Module) -> None:
        super().__init__()
        self.model, self.preprocessing = model, preprocessing

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, C, H, W); returns scores (B, classes)."""
        logits = self.model(self.preprocessing(images))
        if isinstance(logits, (tuple, list)):  # a cascade: use the last exit
            logits = logits[-1]
        return logits.softmax(dim=1)


class SegmentorGraph(nn.Module):
    """Segmentor that returns the probabilities of each pixel.

    Args:
        model (nn.Module): A segmentor of MMSegmentation in test mode "whole".
        preprocessing (nn.Module): Preprocessing of the images.
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
    """One exit of a cascade, from images and the state of the previous exit to logits and state.

    Args:
        model (nn.Module): A :class:`smallvit.plugins.multi_exit.classifier.MultiExitClassifier`.
        preprocessing (nn.Module): Preprocessing of the images.
        index (int): Index of the exit.
        hw (tuple[int, int], optional): Patch grid of the previous exit. Defaults to None.
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
    """Create the module to export for a model.

    Args:
        model (nn.Module): A classifier, segmentor or detector.
        task (str): "classification", "segmentation" or "detection".
        preprocesses (bool): Whether to include preprocessing, for images with values 0 to 255 in
            BGR order.
        images (Tensor): Example inputs (B, C, H, W), which determine the size of a detector's
            graph.

    Returns:
        nn.Module: Module from images (B, C, H, W) to scores; for a detector, from one image to
        boxes.

    Raises:
        UserError: If the model cannot be exported.
    """
    before: Any = Preprocessing(model.data_preprocessor) if preprocesses else nn.Identity()
    if task == CLASSIFICATION:
        return ClassifierGraph(model, before).eval()
    if task == SEGMENTATION:
        if model.test_cfg.get("mode", "whole") != "whole":
            raise UserError(
                "sliding-window inference is a loop outside of the network and cannot be exported. "
                "Set model.test_cfg.mode='whole' in a config, and pass it with --config"
            )
        return SegmentorGraph(model, before).eval()
    return DetectorGraph(model, before, images[:1]).eval()


class BackboneGraph(nn.Module):
    """Backbone and neck of a model, which return maps.

    Args:
        model (nn.Module): A detector or segmentor.
        preprocessing (nn.Module): Preprocessing of the images.
    """

    def __init__(self, model: nn.Module, preprocessing: nn.Module) -> None:
        super().__init__()
        self.model, self.preprocessing = model, preprocessing

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of images (B, C, H, W)."""
        return tuple(self.model.extract_feat(self.preprocessing(images)))


def backbone_of(model: nn.Module, preprocesses: bool) -> nn.Module:
    """Create the module to export for the backbone and neck of a detector or segmentor.

    Args:
        model (nn.Module): A detector or segmentor.
        preprocesses (bool): Whether to include preprocessing, as for :func:`graph_of`.

    Returns:
        nn.Module: Module from images (B, C, H, W) to maps.
    """
    before: Any = Preprocessing(model.data_preprocessor) if preprocesses else nn.Identity()
    return BackboneGraph(model, before).eval()


def run_all(graph: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Run a module without gradients, and return its outputs as a tuple.

    Args:
        graph (nn.Module): Module to run.
        *inputs (Tensor): Positional arguments of the module.

    Returns:
        tuple[Tensor, ...]: Outputs of the module.
    """
    with torch.no_grad():
        found = graph(*inputs)
    return found if isinstance(found, tuple) else (found,)
