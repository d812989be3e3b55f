"""Check that the data can be divided among the processes of a run."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.errors import DataShareError
from smallvit.registry import HOOKS


@HOOKS.register_module()
class DataShareHook(Hook):
    """Refuse training in which a process has no batch, or fewer batches than the others.

    Processes exchange gradients after each batch. If one process runs out of batches, the others
    wait until the collective operation times out.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_train(self, runner: Runner) -> None:
        """Refuse training if a process has no batch, or the numbers of batches differ."""
        if not self.enabled:
            return
        loader = runner.train_loop.dataloader
        batches = all_gather_object(_length(loader))
        if None in batches:
            return
        samples, batch_size = len(loader.dataset), loader.batch_size
        if min(batches) == 0:
            raise DataShareError(
                f"{_processes(batches, 0)} no training batch: {samples} samples, batch_size "
                f"{batch_size}, {len(batches)} processes. Use fewer processes, a smaller "
                "train_dataloader.batch_size, or drop_last=False"
            )
        if len(set(batches)) > 1:
            raise DataShareError(
                f"the processes have {', '.join(map(str, batches))} training batches, and would "
                "wait for each other at the end of the epoch. Set "
                "train_dataloader.sampler.round_up=True, which repeats a few samples"
            )
        self._advise_on_validation(runner)

    def _advise_on_validation(self, runner: Runner) -> None:
        if runner.val_loop is None:
            return
        batches = all_gather_object(_length(runner.val_dataloader))
        if 0 in batches and get_rank() == 0:
            runner.logger.warning(
                f"{_processes(batches, 0)} no validation batch and will wait for the others: "
                "use fewer processes or a smaller val_dataloader.batch_size"
            )


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # an iterable dataset without a length
        return None


def _processes(batches: list[int], count: int) -> str:
    ranks = [str(rank) for rank, number in enumerate(batches) if number == count]
    if len(batches) == 1:
        return "there is"
    return f"rank {', '.join(ranks)} {'have' if len(ranks) > 1 else 'has'}"
