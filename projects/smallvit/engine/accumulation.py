"""Optimizer steps and learning rate under gradient accumulation."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from smallvit.utils.configs import walk

#: EMA hooks that update after each batch, and their replacements that update per optimizer step.
STEP_EMA = {
    "EMAHook": {None: "smallvit.StepEMAHook", "mmpretrain": "smallvit.ClassifierStepEMAHook"},
}


def accumulation_of(runner: Runner) -> int:
    """Number of batches whose gradients are accumulated for an optimizer step.

    Args:
        runner (Runner): The runner that trains.

    Returns:
        int: ``accumulative_counts`` of its optimizer wrapper; 1 if it has none.
    """
    wrapper = runner.optim_wrapper
    if hasattr(wrapper, "get") and not hasattr(wrapper, "_accumulative_counts"):  # not built yet
        return int(wrapper.get("accumulative_counts") or 1)
    return int(getattr(wrapper, "_accumulative_counts", 1) or 1)


def average_by_steps(cfg: Config) -> None:
    """Replace EMA hooks by ones that count optimizer steps, if gradients are accumulated.

    Args:
        cfg (Config): The config, changed in place.
    """
    if ((cfg.get("optim_wrapper") or {}).get("accumulative_counts") or 1) == 1:
        return
    for _, hook in walk(cfg.get("custom_hooks") or []):
        kind = hook.get("type") if hasattr(hook, "get") else None
        if not isinstance(kind, str):
            continue
        scope, _, name = kind.rpartition(".")
        scope = scope or hook.get("_scope_") or cfg.get("default_scope")
        if name in STEP_EMA and scope in ("mmengine", "mmpretrain", "mmdet", "mmseg", None):
            hook["type"] = STEP_EMA[name].get(scope, STEP_EMA[name][None])


def scale_rate_by_steps(runner: Runner) -> None:
    """Make ``auto_scale_lr`` use the number of images per optimizer step, and log that number.

    MMEngine uses the number of images per batch, so accumulated gradients would be applied with the
    learning rate of a smaller batch. The config is not changed, so that the learning rate is not
    scaled twice when a stored config is used again.

    Args:
        runner (Runner): The runner, before training.
    """
    settings = getattr(runner, "auto_scale_lr", None)
    loader = runner._train_dataloader
    if not settings or not settings.get("enable") or not loader:
        return
    batch = loader.get("batch_size") if hasattr(loader, "get") else loader.batch_size
    counts, base = accumulation_of(runner), settings["base_batch_size"]
    images = batch * get_world_size() * counts
    runner.logger.info(
        f"{images} images per optimizer step: batch size {batch} x {get_world_size()} "
        f"processes x {counts} accumulated; auto_scale_lr.base_batch_size is {base}, so the "
        f"learning rate is scaled by {images / base:g}"
    )
    if counts > 1:
        runner.auto_scale_lr = {**settings, "base_batch_size": base / counts}
