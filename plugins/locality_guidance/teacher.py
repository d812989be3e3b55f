"""The CNN that teaches: frozen, and no part of the model that it teaches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hub import get_config
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.errors import CheckpointError
from smallvit.registry import MODELS

TIMM = "timm:"


class Teacher:
    """A frozen network whose stage maps, or logits, are targets.

    It is no module, so that it gets into no checkpoint, optimizer, average or bucket of
    distributed training; it follows the images to their device. Its network is built when
    it is first asked for, which guidance from a store never does. Its checkpoint is read by
    :meth:`load`, which a model that is only tested never calls.

    Args:
        model (dict | str): Config of a classifier or of a backbone that takes
            ``out_indices``; or a config file, by its path or as ``"smallvit::folder/name.py"``;
            or ``"timm:name"`` for a model of timm.
        checkpoint (str, optional): Its weights. Defaults to None, for which only a model
            of timm has some.
        size (int): Images are resized to this height and width. Defaults to 32.
        stages (Sequence[int]): Stages of the backbone whose maps are returned; for logits,
            the last must be among them. Defaults to (0, 1, 2).
        preprocessor (dict, optional): ``mean``, ``std`` and ``to_rgb`` of the images that
            it was trained on. Defaults to None: those of its config, else the student's.
        with_logits (bool): Whether it classifies too; without, only its backbone is built.
            Defaults to False.
        batch_statistics (bool): Whether its batch norms use the statistics of the images at
            hand, as those of the published runs do; otherwise the stored ones, which stay as
            they are in either case. Defaults to False.
        antialias (bool): Whether images are smoothed before they are shrunk. A photograph of
            224 pixels shrunk to 32 without it has other features than one that was resized by
            Pillow, as the teacher's training images were. Defaults to False, as published.

    Raises:
        ValueError: If the model has no backbone.
    """

    def __init__(
        self,
        model: dict | str,
        checkpoint: str | None = None,
        size: int = 32,
        stages: Sequence[int] = (0, 1, 2),
        preprocessor: dict | None = None,
        with_logits: bool = False,
        batch_statistics: bool = False,
        antialias: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.batch_statistics = batch_statistics
        self.size = size
        self.antialias = antialias
        self.stages = tuple(stages)
        self.with_logits = with_logits
        self.name = model if isinstance(model, str) else str(model.get("type"))
        self.config, found = _read_model(model, self.stages)
        if not with_logits:
            self.config = self.config.get("backbone", self.config)
        self.config.setdefault("_scope_", "mmpretrain")
        self.preprocessor = found if preprocessor is None else preprocessor
        self.loaded = False

    @cached_property
    def model(self) -> nn.Module:
        """The network.

        Raises:
            ValueError: If it has no head although it shall classify.
        """
        model = MODELS.build(self.config)
        if self.with_logits and getattr(model, "head", None) is None:
            raise ValueError(
                f"guidance by logits needs a teacher that classifies, and {self.name} is a "
                "backbone: give guidance.teacher.model a classifier's config"
            )
        return self._frozen(model)

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(C, H, W) of the map of each stage."""
        with torch.no_grad():
            maps = self._maps(torch.zeros(2, 3, self.size, self.size))
        return tuple(tuple(each.shape[1:]) for each in maps)

    def describe(self) -> dict[str, Any]:
        """Say what it is and what it is given, for a store; nothing is built.

        Returns:
            dict: ``backbone`` (its config), ``input_size``, ``stages`` and ``preprocessor``, in
            plain values.
        """
        settings = {
            "backbone": self.config.get("backbone", self.config),
            "input_size": [self.size, self.size],
            "stages": self.stages,
            "preprocessor": self.preprocessor,
        }
        if self.antialias:  # stores of before the option say nothing of it
            settings["antialias"] = True
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
            self._load_checkpoint(self.checkpoint)
        elif self.name.startswith(TIMM):
            self.model = self._frozen(MODELS.build({**self.config, "pretrained": True}))
        else:
            raise CheckpointError(
                f"the teacher {self.name} has no weights: train it with tools/train.py and a "
                "teacher's config, and set guidance.teacher.checkpoint to its checkpoint"
            )
        self.loaded = True

    def _load_checkpoint(self, path: str) -> None:
        try:
            checkpoint = load_from_local(path, map_location="cpu")
        except CheckpointError as error:
            raise CheckpointError(
                f"teacher of the guidance: {error}; train the teacher, or set "
                "guidance.teacher.checkpoint to where its checkpoint is"
            ) from error
        own = self.model.state_dict()
        state = checkpoint.get("state_dict", checkpoint)
        if not hasattr(self.model, "backbone"):
            state = _without_the_rest(own, state)
        wrong = _differences(own, state)
        if wrong:
            raise CheckpointError(
                f"{path} is not a checkpoint of the teacher {self.name}: {wrong}; set "
                "guidance.teacher.model to the config that it was trained with (official files: "
                "convert them with tools/model_converters/convert.py first)"
            )
        self.model.load_state_dict(state)

    def see(self, images: Tensor, student: nn.Module | None = None) -> Tensor:
        """Turn the student's images into the teacher's.

        Args:
            images (Tensor): (B, 3, H, W), normalised for the student.
            student (nn.Module, optional): Its data preprocessor, with ``mean`` and
                ``std``. Defaults to None: they are normalised for the teacher.

        Returns:
            Tensor: (B, 3, size, size), normalised for the teacher.
        """
        if images.itemsize < 4:  # of a student that was cast as a whole
            images = images.float()
        images = F.interpolate(
            images,
            (self.size, self.size),
            mode="bilinear",
            align_corners=False,
            antialias=self.antialias,
        )
        if student is None or not self.preprocessor or not hasattr(student, "mean"):
            return images
        mean, std = (
            images.new_tensor(self.preprocessor[key]).view(1, -1, 1, 1) for key in ("mean", "std")
        )
        own_mean, own_std = student.mean.to(images), student.std.to(images)
        if bool(self.preprocessor.get("to_rgb", False)) != bool(student.to_rgb):
            images, own_mean, own_std = images.flip(1), own_mean.flip(0), own_std.flip(0)
        if torch.equal(own_mean.flatten(), mean.flatten()) and torch.equal(
            own_std.flatten(), std.flatten()
        ):
            return images
        return (images * own_std + own_mean - mean) / std

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the maps of the stages.

        Args:
            images (Tensor): (B, 3, size, size), normalised for the teacher.

        Returns:
            list[Tensor]: (B, C_i, H_i, W_i) of each stage.
        """
        return self(images)[0]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Run the teacher.

        Args:
            images (Tensor): (B, 3, size, size), normalised for the teacher.

        Returns:
            tuple[list[Tensor], Tensor | None]: Maps of the stages; and logits
            (B, num_classes), None without ``with_logits``.
        """
        self.load()
        self.model.to(images.device)
        maps = self._maps(images)
        if not self.with_logits:
            return maps, None
        tail = self.model.neck(tuple(maps)) if self.model.with_neck else maps
        return maps, self.model.head(tail)

    def _maps(self, images: Tensor) -> list[Tensor]:
        # The teacher keeps its precision where the student was cast to another.
        dtype = next((p.dtype for p in self.model.parameters()), images.dtype)
        return list(getattr(self.model, "backbone", self.model)(images.to(dtype)))

    def _frozen(self, model: nn.Module) -> nn.Module:
        model.eval()  # which some of MMPretrain's backbones do not return
        for module in model.modules():
            if self.batch_statistics and isinstance(module, _BatchNorm):
                module.train()
                module.momentum = 0.0  # nothing of the batch is kept
        return model.requires_grad_(False)


def _read_model(model: dict | str, stages: tuple[int, ...]) -> tuple[dict, dict | None]:
    """Config of the network with maps of ``stages``, and its preprocessing if it says so."""
    if isinstance(model, str) and model.startswith(TIMM):
        name = model.removeprefix(TIMM)
        kind = dict(type="smallvit.TimmBackbone", model_name=name, out_type="featmap")
        return {**kind, "out_indices": stages}, None
    preprocessor = None
    if isinstance(model, str):
        cfg = get_config(model) if "::" in model else Config.fromfile(model)
        model, preprocessor = cfg.model, cfg.get("data_preprocessor")
    model = deepcopy(dict(model))
    preprocessor = model.get("data_preprocessor", preprocessor)
    backbone = model.get("backbone", model)
    if "type" not in backbone:
        raise ValueError(f"guidance.teacher.model has no backbone with a type: {model}")
    backbone["out_indices"] = stages
    return model, preprocessor


def _without_the_rest(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """What a backbone needs of a classifier's checkpoint, or of timm's, whose names it wraps."""
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    state |= {f"timm_model.{key}": value for key, value in state.items()}
    return {key: value for key, value in state.items() if key in own}


def _differences(own: Mapping[str, Tensor], found: Mapping[str, Any], shown: int = 3) -> str:
    missing = [key for key in own if key not in found]
    strange = [key for key in found if key not in own]
    sizes = [
        f"{key} is {tuple(found[key].shape)}, not {tuple(value.shape)}"
        for key, value in own.items()
        if key in found and found[key].shape != value.shape
    ]
    parts = [
        f"{title} {', '.join(names[:shown])}" + (" ..." if len(names) > shown else "")
        for title, names in (("sizes differ:", sizes), ("missing", missing), ("unknown", strange))
        if names
    ]
    return "; ".join(parts)
