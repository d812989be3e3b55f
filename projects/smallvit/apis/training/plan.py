"""Choose the settings for training on custom data from the images and the user's options."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace

from mmengine.config import Config

from smallvit.apis.training.bands import left_out
from smallvit.apis.training.models import SMALL, Chosen, choose_model
from smallvit.datasets.recognition import OwnData
from smallvit.datasets.recognition.survey import Survey
from smallvit.engine.config_files import read_config
from smallvit.errors import UserError

#: Image sizes, each with the maximum shorter side of images for which it is chosen.
SIZES = ((32, 40), (64, 80), (96, 128), (224, math.inf))
#: Epochs for a reference number of images, and their minimum and maximum.
EPOCHS = {
    "folder": (100, 4000, 30, 300),
    "custom-coco": (50, 500, 12, 150),
    "custom-boxes": (50, 500, 12, 150),
    "custom-masks": (100, 400, 20, 300),
}
#: Minimum number of steps per epoch with the default batch size.
LEAST_STEPS = 8


@dataclass
class Wishes:
    """Options of the user; None means that the setting is chosen from the data.

    Args:
        epochs (int, optional): Number of epochs.
        batch_size (int | str, optional): Batch size; ``auto`` for the largest that fits in memory.
        image_size (int, optional): Height and width of the images.
        lr (float, optional): Learning rate of the optimizer.
        pretrained (str, optional): Path or URL of weights; ``official`` for the library's.
        freeze (bool): Whether to freeze the backbone.
        seed (int, optional): Random seed of the run.
        in_memory (bool): Whether to keep images in memory and augment whole batches.
    """

    epochs: int | None = None
    batch_size: int | str | None = None
    image_size: int | None = None
    lr: float | None = None
    pretrained: str | None = None
    freeze: bool = False
    seed: int | None = None
    in_memory: bool = False


@dataclass
class Plan:
    """Settings of a training run.

    Args:
        chosen (Chosen): Model and base config.
        data (OwnData): Dataset.
        survey (Survey): Statistics of the images.
        base (Config): Config to inherit from.
        size (int): Height and width of the images.
        batch_size (int): Images per step.
        epochs (int): Number of epochs.
        lr (float): Learning rate, scaled to the batch size.
        wishes (Wishes): Options of the user.
        notes (list[str]): Messages for the user.
    """

    chosen: Chosen
    data: OwnData
    survey: Survey
    base: Config
    size: int
    batch_size: int
    epochs: int
    lr: float
    wishes: Wishes
    notes: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """int: Steps per epoch."""
        return math.ceil(self.data.images["train"] / self.batch_size)

    @property
    def workers(self) -> int:
        """int: Number of data loading processes."""
        return min(4, os.cpu_count() or 1)

    @property
    def val_interval(self) -> int:
        """int: Epochs between validations, for about 20 validations in total."""
        return max(1, self.epochs // 20)


def make_plan(name: str, data: OwnData, survey: Survey, wishes: Wishes) -> Plan:
    """Choose all settings that the user did not give.

    Args:
        name (str): Name of the model.
        data (OwnData): Dataset.
        survey (Survey): Statistics of its images.
        wishes (Wishes): Options of the user.

    Returns:
        Plan: Complete settings.

    Raises:
        UserError: If the model does not support the data, or an option cannot be satisfied.
    """
    if survey.channels == 4 and data.form in ("custom-coco", "custom-boxes"):
        survey = _on_white(survey)
    size = wishes.image_size or image_size(data, survey)
    chosen = choose_model(name, data.form, size)
    base = read_config(chosen.base)
    _check_wishes(chosen, wishes, size, data.form, data.table)
    if wishes.in_memory and survey.bands is not None:
        raise UserError(
            "--in-memory keeps images of 8-bit colors, and these have bands: leave it out"
        )
    batch = wishes.batch_size if isinstance(wishes.batch_size, int) else None
    batch = batch or default_batch(data, base)
    rate = wishes.lr or scaled_rate(base, batch)
    epochs = wishes.epochs or default_epochs(data.form, data.images["train"])
    plan = Plan(chosen, data, survey, base, size, batch, epochs, rate, wishes)
    plan.notes += [chosen.note] if chosen.note else []
    if survey.bands is not None:
        omitted = left_out(base.train_dataloader.dataset.pipeline)
        plan.notes += [f"left out (for 8-bit colors only): {', '.join(omitted)}"] if omitted else []
    return plan


def _on_white(survey: Survey) -> Survey:
    """Blend images with alpha onto white, since MMDetection normalizes one or three channels."""
    note = "images with alpha; detectors read the colors, and transparent pixels become white"
    return replace(survey, channels=3, white=255, note=note)


def image_size(data: OwnData, survey: Survey) -> int:
    """Choose the image size.

    Args:
        data (OwnData): Dataset.
        survey (Survey): Statistics of its images.

    Returns:
        int: For class folders 32, 64, 96 or 224 by the shorter side; else the longer side, as a
        multiple of 32, at least 64 and at most 1024.
    """
    if data.form == "folder":
        return next(size for size, most in SIZES if survey.short <= most)
    return min(1024, max(64, 32 * round(survey.long / 32)))


def default_batch(data: OwnData, base: Config) -> int:
    """Choose the batch size: that of the base, halved until an epoch has enough steps.

    Args:
        data (OwnData): Dataset.
        base (Config): Config to inherit from.

    Returns:
        int: Images per step.
    """
    batch, least = base.train_dataloader.batch_size, least_batch(data.form)
    while batch > least and data.images["train"] < batch * LEAST_STEPS:
        batch //= 2
    return batch


def least_batch(form: str) -> int:
    """Return the minimum batch size.

    Args:
        form (str): Format of the data, such as "folder".

    Returns:
        int: 2 for models with norms after a global pooling, which have no statistics of a single
        image; 1 for detectors, which have no such norms.
    """
    return 2 if form in ("folder", "custom-masks") else 1


def scaled_rate(base: Config, batch: int) -> float:
    """Scale the learning rate of a config linearly to another batch size.

    Args:
        base (Config): Config with ``auto_scale_lr.base_batch_size``.
        batch (int): Images per step.

    Returns:
        float: Scaled learning rate.
    """
    rate = base.optim_wrapper.optimizer.lr * batch / base.auto_scale_lr.base_batch_size
    return float(f"{rate:.4g}")


def default_epochs(form: str, images: int) -> int:
    """Choose the number of epochs, inversely proportional to the square root of the images.

    Args:
        form (str): Format of the data, such as "folder".
        images (int): Number of training images.

    Returns:
        int: Number of epochs, within the limits in :data:`EPOCHS`.
    """
    epochs, number, least, most = EPOCHS[form]
    return int(min(most, max(least, round(epochs * math.sqrt(number / images)))))


def _check_wishes(chosen: Chosen, wishes: Wishes, size: int, form: str, table: str) -> None:
    if wishes.pretrained == "official" and chosen.weights is None:
        raise UserError(
            f"--pretrained: no weights of {chosen.name} are available for download. Pass a file "
            "or a URL, --pretrained FILE"
        )
    if wishes.freeze and wishes.pretrained is None:
        raise UserError(
            "--freeze requires pretrained weights, but the backbone starts from random weights. "
            "Pass weights with --pretrained"
        )
    if form != "folder" and size % 32:
        raise UserError(
            f"expected --image-size to be a multiple of 32 for detectors and segmentors, got {size}"
        )
    if wishes.in_memory and (form != "folder" or size > SMALL):
        raise UserError(
            f"--in-memory requires class folders of images up to {SMALL} pixels, got "
            f"{'other data' if form != 'folder' else f'images of {size} pixels'}. Remove it"
            + ("" if form != "folder" else f", or set --image-size {SMALL}")
        )
    if wishes.in_memory and table:
        raise UserError(f"--in-memory requires class folders, but {table} is a table. Remove it")
    if size < 16:
        raise UserError(f"expected --image-size >= 16, got {size}")
