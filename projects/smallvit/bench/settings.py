"""What a bench was asked for, and the runs that follow from it."""

from __future__ import annotations

import math
import os.path as osp
from dataclasses import dataclass, replace

from smallvit.bench.methods import Method

#: Part of a run after which the learning rate of a trapezoid goes down.
COOLDOWN_BEGIN = 0.8


@dataclass(frozen=True)
class Settings:
    """What the user chose, and what must stay the same when a bench is resumed.

    Args:
        data (str): ``digits`` or a folder.
        image_size (int): Height and width that the networks see.
        batch_size (int): Images in a training step.
        flip (bool): Whether training images are mirrored.
        budget (str): ``minutes``, ``epochs`` or ``iters``.
        amount (float): How many of them.
        sizes (str): What of the networks is equal: ``params``, ``flops``, or nothing with
            ``published``, as in benches of earlier versions. Defaults to "published".
        target (float): How many of them. Defaults to 0.
        schedule (str): ``cosine``, or ``trapezoid``, which can be prolonged. Defaults to
            "cosine", which those of earlier versions had.
        search (bool): Whether each method's learning rate is chosen. Defaults to False.
        unlabeled (str): Folder of images that are added where a method is pretrained. Defaults
            to "": there are none.
        pretraining (float): Part of the time of a method with a pretraining that is the
            pretraining's. Defaults to 0.5.
        task (str): What the images ask for. Defaults to "classification".
        prepared (str): Folder with what was made of data for other tasks. Defaults to "".
    """

    data: str
    image_size: int
    batch_size: int
    flip: bool
    budget: str
    amount: float
    sizes: str = "published"
    target: float = 0.0
    schedule: str = "cosine"
    search: bool = False
    unlabeled: str = ""
    pretraining: float = 0.5
    task: str = "classification"
    prepared: str = ""


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        method (str): As the user wrote it, or ``teacher``.
        samples (int | None): Training images per class, None for all.
        seed (int): Of the subset, the weights and the data order.
        iters (int): Steps.
        evals (int): Validations, evenly spread; the last is at the end.
        width (int): Channels of the network's first stage. Defaults to 0: as its config has
            it, which is how benches of earlier versions trained all networks.
        rate (float): The learning rate over that of the recipe. Defaults to 1.
        weight (str): Of the guidance, a number or "balanced". Defaults to "": the default one.
        begun (int): Steps that were planned at first, of a run that was prolonged. Defaults to
            0: it was not.
        pretraining (int): Steps of the pretraining before. Defaults to 0: there is none.
    """

    method: str
    samples: int | None
    seed: int
    iters: int
    evals: int
    width: int = 0
    rate: float = 1.0
    weight: str = ""
    begun: int = 0
    pretraining: int = 0

    @property
    def name(self) -> str:
        """str: For lists and messages."""
        return f"{self.method}, {samples_label(self.samples)}, seed {self.seed}"

    def folder(self, out: str) -> str:
        """Tell where the run is kept.

        Args:
            out (str): Folder of the bench.

        Returns:
            str: Its work folder.
        """
        slug = Method(self.method, self.method).slug
        return osp.join(out, "runs", slug, samples_slug(self.samples), f"seed{self.seed}")

    def pretraining_folder(self, out: str) -> str:
        """Tell where the pretraining of the run is kept.

        Args:
            out (str): Folder of the bench.

        Returns:
            str: Its work folder.
        """
        return osp.join(self.folder(out), "pretraining")

    @property
    def val_interval(self) -> int:
        """int: Steps between validations."""
        return math.ceil(self.iters / self.evals)

    @property
    def warmup(self) -> int:
        """int: Steps in which the learning rate grows."""
        return max(1, min((self.begun or self.iters) // 10, 500))

    @property
    def cooldown(self) -> int:
        """int: Step from which the rate of a trapezoid goes down to zero."""
        return max(self.warmup, int(COOLDOWN_BEGIN * self.iters))

    def prolonged(self) -> Run:
        """Double the run.

        Returns:
            Run: Twice the steps and validations, which are as far apart as before.
        """
        begun = self.begun or self.iters
        return replace(self, iters=2 * self.iters, evals=2 * self.evals, begun=begun)


@dataclass(frozen=True)
class Speed:
    """What a short trial of a method measured, in seconds.

    Args:
        setup (float): From the start of the process to the first step.
        step (float): One training step.
        val (float): One validation.
        test (float): The test.
    """

    setup: float
    step: float
    val: float
    test: float


@dataclass(frozen=True)
class Pace:
    """What a short trial of a pretraining measured, in seconds.

    Args:
        setup (float): From the start of the process to the first step.
        step (float): One step.
        training (float): One step of the training of the same network, measured in turns.
    """

    setup: float
    step: float
    training: float


def samples_slug(samples: int | None) -> str:
    """Name a subset in paths and tables.

    Args:
        samples (int | None): Images per class, None for all.

    Returns:
        str: The name.
    """
    return "all" if samples is None else str(samples)


def samples_label(samples: int | None) -> str:
    """Name a subset in sentences.

    Args:
        samples (int | None): Images per class, None for all.

    Returns:
        str: The name.
    """
    return "all images" if samples is None else f"{samples} per class"
