"""Data loader with reproducible batches that tolerates unreadable samples.

Every batch has its own random streams, seeded by the run's seed, the process, the epoch and the
index of the batch. Augmentations are therefore independent of the number of workers, and
reproduced when a run resumes in the middle of an epoch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from smallvit.engine.random_states import preserved, seed_all
from smallvit.engine.unreadable import BadSample, is_unreadable, sample_path

#: Number of other samples to try in place of an unreadable one.
MAX_REPLACEMENTS = 10


class SeededBatch(list):
    """Indices of a batch, with the seed of its random streams (None: the global generators)."""

    entropy: tuple[int, ...] | None = None


class SeededBatchSampler:
    """Attach the seed of its random streams to each batch of a batch sampler.

    Args:
        batch_sampler (Iterable): The batch sampler; its attributes are forwarded.
    """

    def __init__(self, batch_sampler) -> None:
        self.batch_sampler = batch_sampler
        self.seed: tuple[int, ...] | None = None
        self.epoch = 0
        self._started = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "batch_sampler":
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[SeededBatch]:
        batches, first = self._started or (iter(self.batch_sampler), 0)
        self._started = None
        epoch = self.epoch
        for number, indices in enumerate(batches, start=first):
            batch = SeededBatch(indices)
            if self.seed is not None:
                batch.entropy = (*self.seed, epoch, number)
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the wrapped sampler, if it has ``set_epoch``.

        Args:
            epoch (int): The epoch, from 0.
        """
        self.epoch = epoch
        for owner in (self.batch_sampler, getattr(self.batch_sampler, "sampler", None)):
            if hasattr(owner, "set_epoch"):
                owner.set_epoch(epoch)

    def restart(self) -> None:
        """Reset the state that an earlier iterator of an infinite sampler left."""
        sampler = getattr(self.batch_sampler, "sampler", None)
        if hasattr(sampler, "indices") and hasattr(sampler, "_indices_of_rank"):
            sampler.indices = sampler._indices_of_rank()

    def fast_forward(self, count: int) -> None:
        """Skip batches without loading them, starting from the current epoch.

        Args:
            count (int): Number of batches to skip; they may span several epochs.
        """
        batches, number = iter(self.batch_sampler), 0
        while count > 0:
            if next(batches, None) is not None:
                number, count = number + 1, count - 1
            elif number == 0:
                raise ValueError("the data loader has no batches to skip")
            else:
                self.set_epoch(self.epoch + 1)
                batches, number = iter(self.batch_sampler), 0
        self._started = batches, number


class Samples(list):
    """Loaded samples of a batch, with a record of those that were replaced."""

    bad: tuple[BadSample, ...] = ()


class LoadedBatch:
    """Collated batch from a worker, with a record of the samples that were replaced."""

    def __init__(self, data: Any, bad: tuple[BadSample, ...]) -> None:
        self.data, self.bad = data, bad

    def pin_memory(self, device: Any = None) -> LoadedBatch:
        """Pin the memory of the batch; called by torch's data loader."""
        from torch.utils.data._utils.pin_memory import pin_memory

        self.data = pin_memory(self.data, device)
        return self


class Collate:
    """Collate the samples of a batch and keep the record of replaced samples.

    Args:
        collate_fn (Callable): The wrapped collate function.
    """

    def __init__(self, collate_fn: Callable) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: Samples) -> LoadedBatch:
        """Collate a batch.

        Args:
            samples (Samples): Samples to collate.

        Returns:
            LoadedBatch: The batch and the record of replaced samples.
        """
        return LoadedBatch(self.collate_fn(samples), samples.bad)


class GuardedDataset:
    """Dataset wrapper that seeds the batch's random streams and replaces unreadable samples.

    Args:
        dataset (Dataset): The dataset; its attributes are forwarded.
        replace (bool): Replace unreadable samples instead of raising. Defaults to False.
    """

    def __init__(self, dataset, replace: bool = False) -> None:
        self.__dict__.update(_inner=dataset, _replace=replace)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_inner":
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Any:
        return self._inner[index]

    def __getitems__(self, batch: list[int]) -> Samples:
        entropy = getattr(batch, "entropy", None)
        if entropy is None:
            return self._load(batch)
        # The main process also draws random numbers for the model; workers only for the data.
        with preserved() if get_worker_info() is None else nullcontext():
            seed_all(entropy)
            return self._load(batch)

    def _load(self, batch: list[int]) -> Samples:
        bad: list[BadSample] = []
        load = getattr(self._inner, "load_batch", None)
        if load is not None:  # smallvit.InMemory, which tracks unreadable samples itself
            batch = load([self._readable(index, bad) for index in batch])
            batch.bad = tuple(bad)
            return batch
        samples = Samples(self._read(index, bad) for index in batch)
        samples.bad = tuple(bad)
        return samples

    def _readable(self, index: int, bad: list[BadSample]) -> int:
        for _ in range(MAX_REPLACEMENTS if self._replace else 0):
            reason = self._inner.unreadable(index)
            if reason is None:
                break
            bad.append(BadSample(sample_path(self._inner, index), reason))
            index = random.randrange(len(self._inner))
        return index

    def _read(self, index: int, bad: list[BadSample]) -> Any:
        for _ in range(MAX_REPLACEMENTS):
            try:
                return self._inner[index]
            except Exception as error:
                if not self._replace or not is_unreadable(error):
                    raise
                bad.append(BadSample(sample_path(self._inner, index), str(error)))
                index = random.randrange(len(self._inner))
        return self._inner[index]


class GuardedLoader(DataLoader):
    """Data loader of a run, rebuilt from the one that MMEngine built.

    Args:
        loader (DataLoader): The loader to replace.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.on_bad: Callable[[tuple[BadSample, ...]], None] | None = None
        super().__init__(
            GuardedDataset(loader.dataset),
            batch_sampler=SeededBatchSampler(loader.batch_sampler),
            collate_fn=Collate(loader.collate_fn),
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            # Without its own generator the loader would draw from the model's random stream.
            generator=loader.generator or torch.Generator(),
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
        )
        # torch sets it to None with a batch sampler, but hooks and tools read it.
        self.__dict__["batch_size"] = loader.batch_size

    def __iter__(self) -> Iterator[Any]:
        for batch in super().__iter__():
            if batch.bad and self.on_bad is not None:
                self.on_bad(batch.bad)
            yield batch.data

    def replace_bad_samples(self, on_bad: Callable[[tuple[BadSample, ...]], None]) -> None:
        """Start replacing unreadable samples.

        Args:
            on_bad (Callable): Called with the replaced samples of each batch.
        """
        self.on_bad = on_bad
        self.dataset.__dict__["_replace"] = True


class EndlessBatches:
    """Endless iterator over batches, epoch after epoch, for an iteration-based loop.

    Args:
        loader (GuardedLoader): The loader to iterate over.
    """

    def __init__(self, loader: GuardedLoader) -> None:
        self.loader = loader
        self._iterator = None
        self._asked = 0
        self._done = 0

    def skip(self, count: int) -> None:
        """Skip batches that an earlier session trained on.

        Args:
            count (int): Number of batches. MMEngine's loop requests these again to no effect.
        """
        self.loader.batch_sampler.fast_forward(count)
        self._done = count

    def skip_iter(self, num_iters: int) -> None:
        """Ignore requests for batches, as the loop of onedl-mmengine makes on resume.

        Args:
            num_iters (int): Number of batches.
        """
        for _ in range(num_iters):
            next(self)

    def __iter__(self) -> EndlessBatches:
        return self

    def __next__(self) -> Any:
        if self._asked < self._done:
            self._asked += 1
            return None
        if self._iterator is None:
            self._iterator = iter(self.loader)
        batch = next(self._iterator, None)
        if batch is None:
            sampler = self.loader.batch_sampler
            sampler.set_epoch(sampler.epoch + 1)
            self._iterator = iter(self.loader)
            batch = next(self._iterator)
        return batch


def guard_loader(loop: BaseLoop) -> GuardedLoader | None:
    """Replace the data loader of a training loop by a guarded one, once.

    Args:
        loop (BaseLoop): A training loop that has not started.

    Returns:
        GuardedLoader | None: The loader; None if the type of loop or dataset does not
        support one.
    """
    loader = loop.dataloader
    if isinstance(loader, GuardedLoader):
        return loader
    known = isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop))
    if not known or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        print_log(
            f"{type(loop).__name__} with {type(loader.dataset).__name__}: handling of bad samples "
            "and exact resume are disabled, because they require EpochBasedTrainLoop or "
            "IterBasedTrainLoop and a map-style dataset",
            logger="current",
            level=30,
        )
        return None
    loop.dataloader = GuardedLoader(loader)
    if isinstance(loop, IterBasedTrainLoop):
        loop.dataloader_iterator = EndlessBatches(loop.dataloader)
        loop.dataloader.batch_sampler.restart()
    return loop.dataloader
