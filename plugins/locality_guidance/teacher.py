"""The network that teaches: frozen, and no part of the model that it teaches."""

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

#: Images of a teacher that sees those of its student at their size are tried at this one.
_TRIED = (224, 224)
DTYPES = ("float32", "bfloat16", "float16")


class Teacher:
    """A frozen network whose stage maps, or logits, are targets.

    It is no module, so that it gets into no checkpoint, optimizer, average or bucket of
    distributed training; it follows the images to their device. Its network is built when
    it is first asked for, which guidance from a store never does. Its checkpoint is read by
    :meth:`load`, which a model that is only tested never calls.

    Args:
        model (dict | str): Config of a classifier or of a backbone; or a config file, by its
            path or as ``"smallvit::folder/name.py"``; or ``"timm:name"`` for a model of timm. A
            backbone that takes no ``out_indices``, or returns no maps, is read through
            :mod:`smallvit.hosts`.
        checkpoint (str, optional): Its weights. Defaults to None, for which only a model
            of timm has some.
        size (int | Sequence[int], optional): Images are resized to this height and width; None
            leaves them as large as the student's. Defaults to 32.
        stages (Sequence[int]): Stages of the backbone whose maps are returned, blocks of a
            plain transformer. Defaults to (0, 1, 2).
        preprocessor (dict, optional): ``mean``, ``std`` and ``to_rgb`` of the images that
            it was trained on. Defaults to None: those of its config or of timm's, else the
            student's.
        with_logits (bool): Whether it classifies too; without, only its backbone is built.
            Defaults to False.
        batch_statistics (bool): Whether its batch norms use the statistics of the images at
            hand, as those of the published runs do; otherwise the stored ones, which stay as
            they are in either case. Defaults to False.
        antialias (bool): Whether images are smoothed before they are shrunk. A photograph of
            224 pixels shrunk to 32 without it has other features than one that was resized by
            Pillow, as the teacher's training images were. Defaults to False, as published.
        channels (str | Sequence[int], optional): How images of other channels than its own are
            brought to them, see :class:`ChannelMap`: "repeat", "average", or the numbers of the
            image's channels. Defaults to None: it takes the student's channels.
        dtype (str, optional): What it computes in: "float32", "bfloat16" or "float16".
            Defaults to None, the type of its config, float32.

    Raises:
        ValueError: If the model has no backbone, or an option does not exist or fit.
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
            raise ValueError(f"there is no guidance.teacher.dtype {dtype!r}; use one of {DTYPES}")
        if not isinstance(antialias, bool):
            raise ValueError(f"guidance.teacher.antialias={antialias!r} must be True or False")
        if isinstance(stages, int):
            raise ValueError(
                f"guidance.teacher.stages={stages} must be a sequence, such as ({stages},)"
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
        """The network and how its maps are read.

        Raises:
            ValueError: If it has no head although it shall classify, or its maps cannot be had.
        """
        return self._open(self.config)

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.reader.network

    @property
    def in_channels(self) -> int:
        """Channels of the images that it takes."""
        return self.reader.in_channels

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(C, H, W) of the map of each stage."""
        with torch.no_grad():
            maps = self._run(self.blank())[0]
        return tuple(tuple(each.shape[1:]) for each in maps)

    def blank(self) -> Tensor:
        """Two images of zeros, (2, C, H, W)."""
        return torch.zeros(2, self.in_channels, *(self.size or _TRIED))

    def describe(self) -> dict[str, Any]:
        """Say what it is and what it is given, for a store; nothing is built.

        Returns:
            dict: ``backbone`` (its config), ``input_size``, ``stages`` and ``preprocessor``, in
            plain values.
        """
        backbone = self.config.get("backbone", self.config)
        settings = {
            "backbone": {**backbone, "out_indices": self.stages},
            "input_size": self.size,
            "stages": self.stages,
            "preprocessor": self.preprocessor,
        }
        # Stores of before an option say nothing of it.
        options = dict(antialias=self.antialias, channels=self.channel_map.how, dtype=self.dtype)
        settings |= {key: value for key, value in options.items() if value}
        return json.loads(json.dumps(settings, default=str))

    def __deepcopy__(self, memo: dict) -> Teacher:
        # A copy of the student, for an average of its weights, has the same teacher.
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the map of each stage."""
        return tuple(shape[0] for shape in self.shapes)

    def load(self) -> None:
        """Read the weights, once.

        Raises:
            CheckpointError: If there are none, or they are another network's.
        """
        if self.loaded:
            return
        if self.checkpoint is not None:
            load_weights(self.model, self.checkpoint, self.name)
        elif self.pretrained:
            self.reader = self._open({**self.config, "pretrained": True})
        else:
            raise CheckpointError(
                f"the teacher {self.name} has no weights: train it with tools/train.py and a "
                "teacher's config, and set guidance.teacher.checkpoint to its checkpoint"
            )
        self.loaded = True

    def see(self, images: Tensor, student: nn.Module | None = None) -> Tensor:
        """Turn the student's images into the teacher's.

        Args:
            images (Tensor): (B, C, H, W), normalized for the student.
            student (nn.Module, optional): Its data preprocessor, with ``mean`` and
                ``std``. Defaults to None: they are normalized for the teacher.

        Returns:
            Tensor: (B, C_t, H_t, W_t), normalized for the teacher.

        Raises:
            ValueError: If their channels are not the teacher's.
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
            list[Tensor]: (B, C_i, H_i, W_i) of each stage.
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
        # The teacher keeps its precision where the student was cast to another.
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
                module.momentum = 0.0  # nothing of the batch is kept
        model.requires_grad_(False)
        if self.dtype is not None:
            model.to(getattr(torch, self.dtype))


def _pair(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None or not isinstance(size, int):
        return None if size is None else tuple(size)
    return size, size
