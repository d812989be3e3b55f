"""Choose the settings of a pretraining run from the images and the user's options."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict

from smallvit.apis.pretraining.images import Images
from smallvit.apis.pretraining.methods import METHODS, Made, build_network
from smallvit.apis.training.models import choose_model
from smallvit.apis.training.plan import SIZES
from smallvit.datasets.recognition.survey import Survey
from smallvit.engine.config_files import read_config
from smallvit.engine.model_settings import set_channels
from smallvit.errors import UserError
from smallvit.utils.configs import walk

#: Default number of steps, and limits of the number of epochs.
STEPS, LEAST_EPOCHS, MOST_EPOCHS = 20_000, 40, 800
#: Learning rate of _base_/schedules/pretrain_adamw_400e.py, and the batch size it is for.
RATE, BASE_BATCH = 5e-4, 64


@dataclass(frozen=True)
class PretrainingPlan:
    """Settings of a pretraining run.

    Args:
        name (str): Model name given by the user.
        base (str): Config that the backbone is from.
        method (str): A key of :data:`METHODS`.
        images (Images): Unlabeled images.
        survey (Survey): Statistics of the images.
        size (int): Height and width of the crops.
        batch_size (int): Images per step.
        epochs (int): Number of epochs.
        lr (float): Learning rate, scaled to the batch size.
        seed (int | None): Random seed of the run.
        made (Made): Model and pipeline of the method.
    """

    name: str
    base: str
    method: str
    images: Images
    survey: Survey
    size: int
    batch_size: int
    epochs: int
    lr: float
    seed: int | None
    made: Made

    @property
    def steps(self) -> int:
        """int: Steps per epoch; an incomplete last batch is dropped."""
        return len(self.images.paths) // self.batch_size

    @property
    def interval(self) -> int:
        """int: Epochs between checkpoints and feature measurements, for about 20 in total."""
        return max(1, self.epochs // 20)


def plan_pretraining(
    name: str,
    method: str,
    images: Images,
    survey: Survey,
    size: int | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
) -> PretrainingPlan:
    """Choose all settings that the user did not give.

    Args:
        name (str): Model name, as for ``smallvit train --data``.
        method (str): A key of :data:`METHODS`.
        images (Images): Unlabeled images.
        survey (Survey): Statistics of the images.
        size (int, optional): Height and width of the crops. Defaults to None: chosen by the size
            of the images.
        batch_size (int, optional): Images per step. Defaults to None: 64, or less for few images.
        epochs (int, optional): Number of epochs. Defaults to None: chosen by the number of images.
        lr (float, optional): Learning rate. Defaults to None: scaled to the batch size.
        seed (int, optional): Random seed of the run. Defaults to None.

    Returns:
        PretrainingPlan: Complete settings.

    Raises:
        UserError: If the model is unknown, or the method does not support its backbone.
    """
    size = size or next(side for side, most in SIZES if survey.short <= most)
    count = len(images.paths)
    batch = batch_size or max(4, min(64, 2 ** int(math.log2(max(count // 4, 4)))))
    if batch > count:
        raise UserError(f"--batch-size {batch} exceeds the {count} images")
    base, backbone = _backbone(name, size, survey.channels)
    colors = survey.bands is None
    network = build_network(backbone, size, survey.channels, count, colors)
    made = METHODS[method](network)
    chosen = epochs or min(MOST_EPOCHS, max(LEAST_EPOCHS, round(STEPS * batch / count)))
    rate = lr or float(f"{RATE * batch / BASE_BATCH:.4g}")
    return PretrainingPlan(
        name, base, method, images, survey, size, batch, chosen, rate, seed, made
    )


def _backbone(name: str, size: int, channels: int) -> tuple[str, dict[str, Any]]:
    """Find the backbone that ``smallvit train`` would use for class folders."""
    chosen = choose_model(name, "folder", size)
    model = chosen.model or read_config(chosen.base).model
    backbone = deepcopy(model.get("backbone"))
    if backbone is None or "exits" in backbone:
        raise UserError(
            f"{name} is a cascade of several networks, which are pretrained separately. Pass the "
            "network of an exit"
            if backbone is not None
            else f"{name} has no backbone to pretrain"
        )
    cfg = Config(dict(model=dict(backbone=ConfigDict(backbone)), default_scope="mmpretrain"))
    for _, node in walk(cfg.model):
        if hasattr(node, "get") and "img_size" in node:
            node.img_size = size
    if channels != 3:
        set_channels(cfg, channels)
    found = cfg.model.backbone.to_dict()
    found.pop("init_cfg", None)
    return chosen.base, found
