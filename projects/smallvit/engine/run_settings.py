"""Settings of a run that are stored in checkpoints and compared on resume."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.engine.accumulation import accumulation_of
from smallvit.utils.data_fingerprint import fingerprint


def settings_of(runner: Runner) -> dict[str, Any]:
    """Collect the settings of a run that are compared on resume.

    Args:
        runner (Runner): The runner, with its training loop built.

    Returns:
        dict[str, Any]: ``batch_size`` (images of all processes in an iteration), ``samples``,
        ``iterations`` (of an epoch; None in loops without epochs), ``length`` (epochs or
        iterations of the training), ``accumulation`` and ``data`` (a fingerprint); None for
        settings that cannot be determined.
    """
    loop = runner.train_loop
    loader = loop.dataloader
    by_iteration = isinstance(loop, IterBasedTrainLoop)
    batch = getattr(loader, "batch_size", None)
    return {
        "batch_size": None if batch is None else batch * get_world_size(),
        "samples": _length(loader.dataset),
        "iterations": None if by_iteration else _length(loader),
        "length": loop.max_iters if by_iteration else loop.max_epochs,
        "accumulation": accumulation_of(runner),
        "data": fingerprint(loader.dataset),
    }


def _length(sized: Any) -> int | None:
    try:
        return len(sized)
    except TypeError:  # an iterable dataset without a length
        return None
