"""Frozen teacher network, which is not a submodule of the student."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.errors import CheckpointError
from smallvit.plugins.locality_guidance.teacher_config import TIMM, read_config
from smallvit.plugins.locality_guidance.teacher_images import ChannelMap, renormalize, resize
from smallvit.plugins.locality_guidance.teacher_network import OwnMaps, TappedMaps, open_network
from smallvit.plugins.locality_guidance.teacher_weights import load_weights

__all__ = ["DTYPES", "TIMM", "Teacher"]

#: Input size to probe teachers with that run at the image size of the student.
_TRIED = (224, 224)
DTYPES = ("float32", "bfloat16", "float16")


class Teacher:
    """Frozen network whose stage maps or logits are distillation targets.

    Not an ``nn.Module``, so that it is not part of checkpoints, optimizers, weight averages or
    buckets of distributed training; it is moved to the device of the images. The network is built
    on first use, which guidance from a store never needs. The checkpoint is read by
    :meth:`load`, which is not called for a model that is only tested.

    Args:
        model (dict | str): Config of a classifier or of a backbone; or a config file, by its
            path or as ``"smallvit::folder/name.py"``; or ``"timm:name"`` for a model of timm. A
            backbone that does not accept ``out_indices``, or does not return maps, is read through
            :mod:`smallvit.hosts`.
        checkpoint (str, optional): Path of the weights. Defaults to None, which is only valid for
            pretrained models of timm.
        size (int | Sequence[int], optional): Height and width to which images are resized; None
            keeps the size of the student's images. Defaults to 32.
        stages (Sequence[int]): Stages of the backbone whose maps are returned; for a plain
            transformer, blocks. Defaults to (0, 1, 2).
        preprocessor (dict, optional): ``mean``, ``std`` and ``to_rgb`` of the teacher's training
            images. Defaults to None: those of its config or of timm, else the student's.
        with_logits (bool): Whether to return logits too; otherwise only the backbone is built.
            Defaults to False.
        batch_statistics (bool): Whether batch norms use the statistics of the current batch, as
            in the published runs, instead of the stored ones; the stored statistics are never
            updated. Defaults to False.
        antialias (bool): Whether to antialias when images are downsampled. Without it, a
            224-pixel photograph downsampled to 32 has other features than one resized by
            Pillow, as the teacher's training images were. Defaults to False, as published.
        channels (str | Sequence[int], optional): Conversion of images with another number of
            channels, see :class:`ChannelMap`: "repeat", "average", or indices of the image's
            channels. Defaults to None: no conversion.
        dtype (str, optional): Precision of the network: "float32", "bfloat16" or "float16".
            Defaults to None, the precision in which it is built, float32.

    Raises:
        ValueError: If the model has no backbone, or an option is invalid.
    """

    def __init__(
        self,
        model: dict | str,
        checkpoint: str | None = None,
        size: int | Sequence[int] | None = 32,
        stages: Sequence[int] = (0, 1, 2),
        preprocessor: dict | None = None,
        with_logits: bool = False,
        batch_statistics: bool = False,
        antialias: bool = False,
        channels: str | Sequence[int] | None = None,
        dtype: str | None = None,
    ) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(
                f"expected guidance.teacher.dtype to be one of {DTYPES}, got {dtype!r}"
            )
        if not isinstance(antialias, bool):
            raise ValueError(
                f"expected guidance.teacher.antialias to be True or False, got {antialias!r}"
            )
        if isinstance(stages, int):
            raise ValueError(
                f"expected guidance.teacher.stages to be a sequence such as ({stages},), got "
                f"{stages}"
            )
        self.checkpoint = checkpoint
        self.batch_statistics = batch_statistics
        self.size = _pair(size)
        self.antialias = antialias
        self.stages = tuple(stages)
        self.with_logits = with_logits
        self.channel_map = ChannelMap(channels)
        self.dtype = dtype
        self.name = model if isinstance(model, str) else str(model.get("type"))
        found = read_config(model, self.size, with_logits)
        self.config, self.pretrained = found.network, found.pretrained
        self.preprocessor = found.preprocessor if preprocessor is None else preprocessor
        self.loaded = False

    @cached_property
    def reader(self) -> OwnMaps | TappedMaps:
        """OwnMaps | TappedMaps: The network, wrapped to return its maps.

        Raises:
            ValueError: If logits are requested from a network without a head, or its maps cannot
                be read.
        """
        return self._open(self.config)

    @property
    def model(self) -> nn.Module:
        """nn.Module: The network."""
        return self.reader.network

    @property
    def in_channels(self) -> int:
        """int: Number of input channels."""
        return self.reader.in_channels

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """tuple[tuple[int, ...], ...]: Shape (C, H, W) of the map of each stage."""
        with torch.no_grad():
            maps = self._run(self.blank())[0]
        return tuple(tuple(each.shape[1:]) for each in maps)

    def blank(self) -> Tensor:
        """Create a batch of two zero images, (2, C, H, W)."""
        return torch.zeros(2, self.in_channels, *(self.size or _TRIED))

    def describe(self) -> dict[str, Any]:
        """Describe the network and its input for the header of a store, without building it.

        Returns:
            dict: Plain values of ``backbone`` (its config), ``input_size``, ``stages`` and
            ``preprocessor``, and of options that are set.
        """
        backbone = self.config.get("backbone", self.config)
        settings = {
            "backbone": {**backbone, "out_indices": self.stages},
            "input_size": self.size,
            "stages": self.stages,
            "preprocessor": self.preprocessor,
        }
        # Stores written before an option existed do not contain it.
        options = dict(antialias=self.antialias, channels=self.channel_map.how, dtype=self.dtype)
        settings |= {key: value for key, value in options.items() if value}
        return json.loads(json.dumps(settings, default=str))

    def __deepcopy__(self, memo: dict) -> Teacher:
        # Copies of the student, as for weight averaging, share the teacher.
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """tuple[int, ...]: Channels of the map of each stage."""
        return tuple(shape[0] for shape in self.shapes)

    def load(self) -> None:
        """Load the weights on the first call.

        Raises:
            CheckpointError: If there are no weights, or they are of another network.
        """
        if self.loaded:
            return
        if self.checkpoint is not None:
            load_weights(self.model, self.checkpoint, self.name)
        elif self.pretrained:
            self.reader = self._open({**self.config, "pretrained": True})
        else:
            raise CheckpointError(
                f"the teacher {self.name} has no weights. Train it with tools/train.py and the "
                "config of a teacher, and set guidance.teacher.checkpoint to its checkpoint"
            )
        self.loaded = True

    def preprocess(self, images: Tensor, student: nn.Module | None = None) -> Tensor:
        """Convert the student's input to the teacher's: size, channels and normalization.

        Args:
            images (Tensor): (B, C, H, W), normalized for the student.
            student (nn.Module, optional): Data preprocessor of the student, with ``mean`` and
                ``std``. Defaults to None: the images are already normalized for the teacher.

        Returns:
            Tensor: (B, C_t, H_t, W_t), normalized for the teacher.

        Raises:
            ValueError: If the channels do not match the teacher's.
        """
        images = resize(images, self.size, self.antialias)
        if student is None or not self.preprocessor or not hasattr(student, "mean"):
            return self.channel_map(images, self.in_channels)
        settings = (student, self.preprocessor, self.channel_map, self.in_channels)
        return renormalize(images, *settings)

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the maps of the stages.

        Args:
            images (Tensor): (B, C_t, H_t, W_t), normalized for the teacher.

        Returns:
            list[Tensor]: Map (B, C_i, H_i, W_i) of each stage.
        """
        return self(images)[0]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Run the teacher.

        Args:
            images (Tensor): (B, C_t, H_t, W_t), normalized for the teacher.

        Returns:
            tuple[list[Tensor], Tensor | None]: Maps of the stages; and logits
            (B, num_classes), None without ``with_logits``.
        """
        self.load()
        self.model.to(images.device)
        return self._run(images)

    def _run(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        # The teacher keeps its precision even if the student was cast to another one.
        dtype = next((p.dtype for p in self.model.parameters()), images.dtype)
        return self.reader(images.to(dtype))

    def _open(self, config: dict) -> OwnMaps | TappedMaps:
        reader = open_network(config, self.stages, self.size or _TRIED, self.with_logits)
        self._freeze(reader.network)
        return reader

    def _freeze(self, model: nn.Module) -> None:
        model.eval()
        for module in model.modules():
            if self.batch_statistics and isinstance(module, _BatchNorm):
                module.train()
                module.momentum = 0.0  # so that the stored statistics are not updated
        model.requires_grad_(False)
        if self.dtype is not None:
            model.to(getattr(torch, self.dtype))


def _pair(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None or not isinstance(size, int):
        return None if size is None else tuple(size)
    return size, size
