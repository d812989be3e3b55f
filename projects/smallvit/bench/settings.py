"""Settings of a bench, its runs and measured speeds."""

from __future__ import annotations

import math
import os.path as osp
from collections.abc import Iterable
from dataclasses import dataclass, replace

from smallvit.bench.methods import Method

#: Fraction of a run after which the learning rate of a trapezoidal schedule decays.
COOLDOWN_BEGIN = 0.8


@dataclass(frozen=True)
class BenchSettings:
    """Settings of a bench, which must not change when it is resumed.

    Args:
        data (str): ``digits``, or the path of the dataset.
        image_size (int): Height and width of the input images.
        batch_size (int): Training batch size.
        flip (bool): Whether training images are flipped at random.
        budget (str): Unit of the budget: ``minutes``, ``epochs`` or ``iters``.
        amount (float): Budget in this unit.
        sizes (str): Measure by which the networks have equal size: ``params``, ``flops``, or
            ``published`` for unscaled networks, as in benches of earlier versions. Defaults to
            "published".
        target (float): Target size in this measure. Defaults to 0.
        schedule (str): ``cosine``, or ``trapezoid``, which can be extended. Defaults to
            "cosine", as in benches of earlier versions.
        search (bool): Whether to select each method's learning rate by trials.
            Defaults to False.
        unlabeled (str): Folder of additional images for pretraining. Defaults to "": none.
        pretraining (float): Fraction of a run's time for its pretraining, for methods that have
            one. Defaults to 0.5.
        task (str): Task of the dataset. Defaults to "classification".
        prepared (str): Folder with converted data of other tasks. Defaults to "".
        val_samples (int): Validation images per class. Defaults to 0: all.
        void (int, optional): Pixel value of label maps to ignore. Defaults to None: 255 only.
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
    val_samples: int = 0
    void: int | None = None


@dataclass(frozen=True)
class Run:
    """Training run of a method on a subset with a seed.

    Args:
        method (str): Name of the method, or ``teacher``.
        samples (int | None): Training images per class, None for all.
        seed (int): Random seed of the subset, the weights and the data order.
        iters (int): Number of training steps.
        evals (int): Number of validations at equal intervals; the last is at the end.
        width (int): Channels of the network's first stage. Defaults to 0: the width of its
            config, as for all networks in benches of earlier versions.
        rate (float): Learning rate relative to that of the recipe. Defaults to 1.
        weight (str): Guidance weight, a number or "balanced". Defaults to "": the default weight.
        begun (int): Originally planned steps of a run that was extended. Defaults to 0: it was
            not extended.
        pretraining (int): Steps of the pretraining. Defaults to 0: no pretraining.
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
        """str: Name for lists and messages."""
        return f"{self.method}, {samples_label(self.samples)}, seed {self.seed}"

    def folder(self, out: str) -> str:
        """Get the work folder of the run.

        Args:
            out (str): Folder of the bench.

        Returns:
            str: Path of the work folder.
        """
        slug = Method(self.method, self.method).slug
        return osp.join(out, "runs", slug, samples_slug(self.samples), f"seed{self.seed}")

    def pretraining_folder(self, out: str) -> str:
        """Get the work folder of the run's pretraining.

        Args:
            out (str): Folder of the bench.

        Returns:
            str: Path of the work folder.
        """
        return osp.join(self.folder(out), "pretraining")

    @property
    def val_interval(self) -> int:
        """int: Steps between validations."""
        return math.ceil(self.iters / self.evals)

    @property
    def warmup(self) -> int:
        """int: Number of warmup steps of the learning rate."""
        return max(1, min((self.begun or self.iters) // 10, 500))

    @property
    def cooldown(self) -> int:
        """int: Step from which the learning rate of a trapezoidal schedule decays to zero."""
        return max(self.warmup, int(COOLDOWN_BEGIN * self.iters))

    def prolonged(self) -> Run:
        """Double the length of the run.

        Returns:
            Run: Run with twice the steps and validations, at the same interval.
        """
        begun = self.begun or self.iters
        return replace(self, iters=2 * self.iters, evals=2 * self.evals, begun=begun)


@dataclass(frozen=True)
class Speed:
    """Durations measured in a short trial of a method, in seconds.

    Args:
        setup (float): Time from the start of the process to the first step.
        step (float): Time of a training step.
        val (float): Time of a validation.
        test (float): Time of the test.
    """

    setup: float
    step: float
    val: float
    test: float


@dataclass(frozen=True)
class Pace:
    """Durations measured in a short trial of a pretraining, in seconds.

    Args:
        setup (float): Time from the start of the process to the first step.
        step (float): Time of a pretraining step.
        training (float): Time of a training step of the same network, measured alternately.
    """

    setup: float
    step: float
    training: float


def samples_slug(samples: int | None) -> str:
    """Get the name of a subset for paths and tables.

    Args:
        samples (int | None): Images per class, None for all.

    Returns:
        str: Name of the subset.
    """
    return "all" if samples is None else str(samples)


def samples_label(samples: int | None) -> str:
    """Get the name of a subset for sentences.

    Args:
        samples (int | None): Images per class, None for all.

    Returns:
        str: Name of the subset.
    """
    return "all images" if samples is None else f"{samples} per class"


def steps_label(runs: Iterable[Run]) -> str:
    """Describe the number of steps of several runs for sentences.

    Args:
        runs (Iterable[Run]): Runs.

    Returns:
        str: Text such as ``4000 steps``, or ``400 to 500 steps`` if they differ.
    """
    steps = {run.iters for run in runs}
    return " to ".join(str(each) for each in sorted({min(steps), max(steps)})) + " steps"
