"""The plan of a training on own data: what the images, their number and the wishes decide."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace

from mmengine.config import Config

from smallvit.apis.training.models import SMALL, Chosen, choose_model
from smallvit.datasets.recognition import OwnData
from smallvit.datasets.recognition.survey import Survey
from smallvit.engine.config_files import read_config
from smallvit.errors import UserError

#: Sizes of images, and the shorter side up to which each is taken.
SIZES = ((32, 40), (64, 80), (96, 128), (224, math.inf))
#: Epochs for a number of images, and their limits: fewer images are seen more often.
EPOCHS = {
    "folder": (100, 4000, 30, 300),
    "custom-coco": (50, 500, 12, 150),
    "custom-boxes": (50, 500, 12, 150),
    "custom-masks": (100, 400, 20, 300),
}
#: The least number of steps of an epoch that a batch leaves.
LEAST_STEPS = 8


@dataclass
class Wishes:
    """What the user asked for; None is left to the data.

    Args:
        epochs (int, optional): Epochs.
        batch_size (int | str, optional): Images of a step; ``auto`` is what fits.
        image_size (int, optional): Height and width of the images.
        lr (float, optional): Learning rate.
        pretrained (str, optional): File or address of weights; ``official`` for the library's.
        freeze (bool): Whether the backbone is not trained.
        seed (int, optional): Seed of the training.
        in_memory (bool): Whether images are read once, and augmented by the batch.
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
    """What will be trained, on what and how.

    Args:
        chosen (Chosen): The model.
        data (OwnData): The data.
        survey (Survey): Its images.
        base (Config): The config that is inherited.
        size (int): Image size.
        batch_size (int): Images of a step.
        epochs (int): Epochs.
        lr (float): Learning rate.
        wishes (Wishes): What the user asked for.
        notes (list[str]): What is to be said.
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
        """int: Steps of an epoch."""
        return math.ceil(self.data.images["train"] / self.batch_size)

    @property
    def workers(self) -> int:
        """int: Processes that load images."""
        return min(4, os.cpu_count() or 1)

    @property
    def val_interval(self) -> int:
        """int: Epochs between two validations: some twenty of them."""
        return max(1, self.epochs // 20)


def make_plan(name: str, data: OwnData, survey: Survey, wishes: Wishes) -> Plan:
    """Decide what the user left open.

    Args:
        name (str): The model.
        data (OwnData): The data.
        survey (Survey): What its images are like.
        wishes (Wishes): What the user asked for.

    Returns:
        Plan: The plan.

    Raises:
        UserError: If the model cannot do it, or a wish cannot be followed.
    """
    if survey.channels == 4 and data.form in ("custom-coco", "custom-boxes"):
        survey = _on_white(survey)
    size = wishes.image_size or image_size(data, survey)
    chosen = choose_model(name, data.form, size)
    base = read_config(chosen.base)
    _check_wishes(chosen, wishes, size, data.form, data.table)
    batch = wishes.batch_size if isinstance(wishes.batch_size, int) else None
    batch = batch or default_batch(data, base)
    rate = wishes.lr or scaled_rate(base, batch)
    epochs = wishes.epochs or default_epochs(data.form, data.images["train"])
    plan = Plan(chosen, data, survey, base, size, batch, epochs, rate, wishes)
    plan.notes += [chosen.note] if chosen.note else []
    return plan


def _on_white(survey: Survey) -> Survey:
    """MMDetection normalizes one channel or three."""
    note = "images with alpha, of which a detector takes the colors: what is transparent is white"
    return replace(survey, channels=3, white=255, note=note)


def image_size(data: OwnData, survey: Survey) -> int:
    """Choose the size of the images.

    Args:
        data (OwnData): The data.
        survey (Survey): What its images are like.

    Returns:
        int: For class folders 32, 64, 96 or 224 by the shorter side; else the longer side, as a
        multiple of 32, at least 64 and at most 1024.
    """
    if data.form == "folder":
        return next(size for size, most in SIZES if survey.short <= most)
    return min(1024, max(64, 32 * round(survey.long / 32)))


def default_batch(data: OwnData, base: Config) -> int:
    """Choose the batch: the base's, halved until an epoch has some steps.

    Args:
        data (OwnData): The data.
        base (Config): The config to begin with.

    Returns:
        int: Images of a step.
    """
    batch, least = base.train_dataloader.batch_size, least_batch(data.form)
    while batch > least and data.images["train"] < batch * LEAST_STEPS:
        batch //= 2
    return batch


def least_batch(form: str) -> int:
    """Tell the smallest batch that is trained.

    Args:
        form (str): The form of the data.

    Returns:
        int: Two images for norms behind a pooling, which have no statistics of one; detectors
        have no such norms.
    """
    return 2 if form in ("folder", "custom-masks") else 1


def scaled_rate(base: Config, batch: int) -> float:
    """Scale the learning rate of a config linearly to another batch.

    Args:
        base (Config): The config.
        batch (int): Images of a step.

    Returns:
        float: The rate.
    """
    rate = base.optim_wrapper.optimizer.lr * batch / base.auto_scale_lr.base_batch_size
    return float(f"{rate:.4g}")


def default_epochs(form: str, images: int) -> int:
    """Choose the epochs: with the root of the number of images, four times as many halve them.

    Args:
        form (str): The form of the data.
        images (int): Training images.

    Returns:
        int: Epochs.
    """
    epochs, number, least, most = EPOCHS[form]
    return int(min(most, max(least, round(epochs * math.sqrt(number / images)))))


def _check_wishes(chosen: Chosen, wishes: Wishes, size: int, form: str, table: str) -> None:
    if wishes.pretrained == "official" and chosen.weights is None:
        raise UserError(
            f"--pretrained: {chosen.name} has no weights that could be fetched: give a file or an "
            "address, --pretrained FILE"
        )
    if wishes.freeze and wishes.pretrained is None:
        raise UserError(
            "--freeze keeps the weights that the backbone begins with, and these are random: give "
            "some with --pretrained"
        )
    if form != "folder" and size % 32:
        raise UserError(f"--image-size {size}: detectors and segmentors take multiples of 32")
    if wishes.in_memory and (form != "folder" or size > SMALL):
        raise UserError(
            f"--in-memory is for class folders of images of up to {SMALL} pixels, and these are "
            f"{'no class folders' if form != 'folder' else f'trained at {size}'}: leave it out"
            + ("" if form != "folder" else f", or give --image-size {SMALL}")
        )
    if wishes.in_memory and table:
        raise UserError(f"--in-memory is for class folders, and {table} is a table: leave it out")
    if size < 16:
        raise UserError(f"--image-size {size}: 16 pixels are the least")
