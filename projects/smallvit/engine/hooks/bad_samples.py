"""Replace unreadable training samples, up to a limit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.datasets.io.images import CheckedLoadImageFromFile
from smallvit.engine.guarded_loader import GuardedLoader, guard_loader
from smallvit.engine.unreadable import BadSample
from smallvit.errors import BadSamplesError
from smallvit.registry import HOOKS


@HOOKS.register_module()
class BadSampleHook(Hook):
    """Replace unreadable training samples with others, up to a limit.

    Each one is counted and logged with its path. Validation and testing stop at the first one,
    because a metric over fewer images is not comparable.

    Args:
        fraction (float): Fraction of an epoch that may be unreadable. Defaults to 0.001.
        at_least (int): Lower bound of the limit, for small datasets. Defaults to 10.
        shown (int): Number of samples named in messages. Defaults to 10.
        enabled (bool): If False, training also stops at the first one. Defaults to True.
    """

    def __init__(
        self, fraction: float = 0.001, at_least: int = 10, shown: int = 10, enabled: bool = True
    ) -> None:
        self.fraction, self.at_least, self.shown = fraction, at_least, shown
        self.enabled = enabled
        self.loader: GuardedLoader | None = None
        self.bad: list[BadSample] = []

    def before_run(self, runner: Runner) -> None:
        """Attach to the training data loader."""
        loops = (runner._train_loop, runner._val_loop, runner._test_loop)
        for loop in loops:
            if hasattr(loop, "dataloader"):
                _check_images(loop.dataloader.dataset)
        loop = runner._train_loop
        if self.enabled and hasattr(loop, "run"):
            self.loader = guard_loader(loop)
        if self.loader is not None:
            self.logger = runner.logger
            self.loader.replace_bad_samples(self._count_samples)

    def _count_samples(self, bad: tuple[BadSample, ...]) -> None:
        for sample in bad:
            self.bad.append(sample)
            self.logger.warning(f"replaced an unreadable sample: {sample.path} ({sample.reason})")
            self._check(self.bad, len(self.bad))

    @property
    def limit(self) -> int:
        """int: Maximum number of unreadable samples per epoch, over all processes."""
        return max(self.at_least, math.floor(self.fraction * len(self.loader.dataset)))

    def _check(self, bad: list[BadSample], count: int) -> None:
        if count > self.limit:
            raise BadSamplesError(
                f"{count} of {len(self.loader.dataset)} training samples of one epoch could not be "
                f"read, more than the limit of {self.limit} (BadSampleHook: fraction="
                f"{self.fraction}, at_least={self.at_least}):\n  {self._list(bad, count)}"
            )

    def _list(self, bad: list[BadSample], count: int) -> str:
        names = [sample.path for sample in bad[: self.shown]]
        more = [f"and {count - len(names)} more"] if count > len(names) else []
        return "\n  ".join([*names, *more])

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """In an iteration-based loop, report after each pass over the data."""
        if self.loader is None or not isinstance(runner.train_loop, IterBasedTrainLoop):
            return
        if (batch_idx + 1) % self._epoch_length() == 0:
            self._report(f"{batch_idx + 1} iterations")

    def _epoch_length(self) -> int:
        size = self.loader.batch_size or getattr(self.loader.batch_sampler, "batch_size", 1)
        return max(1, math.ceil(len(self.loader.dataset) / (size * get_world_size())))

    def after_train_epoch(self, runner: Runner) -> None:
        """Report the unreadable samples of the epoch."""
        if self.loader is None:
            return
        by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        self._report("the training" if by_iteration else f"epoch {runner.epoch + 1}")

    def _report(self, period: str) -> None:
        own = (len(self.bad), [tuple(vars(sample).values()) for sample in self.bad[: self.shown]])
        gathered: list[Any] = all_gather_object(own)
        self.bad = []
        count = sum(number for number, _ in gathered)
        bad = [BadSample(*fields) for _, samples in gathered for fields in samples]
        if not count:
            self.logger.info(f"unreadable samples up to the end of {period}: none")
            return
        self.logger.warning(
            f"unreadable samples up to the end of {period}: {count} (limit {self.limit}), "
            f"replaced by others:\n  {self._list(bad, count)}"
        )
        self._check(bad, count)


def _check_images(dataset: Any) -> None:
    """Detect truncated files also in pipelines that were built with MMCV's image reader."""
    for transforms in _pipelines(dataset):
        for place, transform in enumerate(transforms):
            if type(transform) is LoadImageFromFile:
                transforms[place] = CheckedLoadImageFromFile.like(transform)


def _pipelines(dataset: Any) -> Iterator[list]:
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", None)
    if isinstance(transforms, list):
        yield transforms
    inner = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    for one in inner:
        if one is not None:
            yield from _pipelines(one)
