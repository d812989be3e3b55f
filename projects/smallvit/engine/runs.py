"""Steps that training and testing share, from the merged config to the Runner."""

from __future__ import annotations

import os
import os.path as osp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from smallvit.datasets.io import images
from smallvit.engine.checkpoint.reading import require_checkpoint
from smallvit.engine.distributed import prepare_cpu_processes, require_accelerator
from smallvit.engine.guards import add_guards
from smallvit.engine.hooks.exact_rois import ExactRoIHook
from smallvit.engine.hooks.resume import choose_checkpoint
from smallvit.engine.precision import replace_unsupported_amp

HOOKS_OF_EVERY_RUN = (ExactRoIHook,)


def prepare(cfg: Config) -> None:
    """Adapt any MM config to this machine, and guard its run.

    Args:
        cfg (Config): The merged config, changed in place.
    """
    images.install(cfg.get("default_scope"))
    require_accelerator(cfg)
    replace_unsupported_amp(cfg)
    prepare_cpu_processes(cfg)
    add_guards(cfg)
    hooks = list(cfg.get("custom_hooks") or [])
    present = {_hook_name(hook) for hook in hooks}
    missing = [hook.__name__ for hook in HOOKS_OF_EVERY_RUN if hook.__name__ not in present]
    cfg.custom_hooks = [*hooks, *({"type": f"smallvit.{name}"} for name in missing)]


def _hook_name(hook: object) -> str:
    kind = hook.get("type") if hasattr(hook, "get") else type(hook)
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return name.rpartition(".")[2]


def build_runner(cfg: Config) -> Runner:
    """Build the Runner that a config asks for.

    Args:
        cfg (Config): The prepared config.

    Returns:
        Runner: MMEngine's, or the one that ``runner_type`` names.
    """
    if "runner_type" not in cfg:
        return Runner.from_cfg(cfg)
    runner = RUNNERS.build(cfg)
    choose_checkpoint(runner)  # a FlexibleRunner loads it before any hook is called
    return runner


@contextmanager
def no_leftovers(work_dir: str) -> Iterator[None]:
    """Remove what a run wrote to its work folder if it fails before the first checkpoint.

    A run that cannot be built, or finds no data, thus leaves the disk as it was; one
    that trained keeps its logs.

    Args:
        work_dir (str): The work folder; it may exist, with results of other runs.

    Yields:
        None: While the run lasts.
    """
    before = set(os.listdir(work_dir)) if osp.isdir(work_dir) else None
    try:
        yield
    except Exception:
        if os.environ.get("RANK", "0") == "0" and not _has_results(work_dir, before or set()):
            _remove_new(work_dir, before)
        raise


def _has_results(work_dir: str, before: set[str]) -> bool:
    new = set(os.listdir(work_dir)) - before if osp.isdir(work_dir) else set()
    scalars = (
        osp.join(folder, name)
        for entry in new
        for folder, _, names in os.walk(osp.join(work_dir, entry))
        for name in names
        if name == "scalars.json"
    )
    return any(name.endswith(".pth") for name in new) or any(
        osp.getsize(path) > 0 for path in scalars
    )


def _remove_new(work_dir: str, before: set[str] | None) -> None:
    import logging

    from mmengine.logging import MMLogger

    for logger in list(MMLogger._instance_dict.values()):
        for handler in list(logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.close()
                logger.removeHandler(handler)
    if before is None:
        shutil.rmtree(work_dir, ignore_errors=True)
        return
    for entry in set(os.listdir(work_dir)) - before:
        path = osp.join(work_dir, entry)
        shutil.rmtree(path) if osp.isdir(path) else os.remove(path)


def check_weights(cfg: Config) -> None:
    """Check that the checkpoint to start from is there, before anything is built.

    Args:
        cfg (Config): The merged config.
    """
    path = cfg.get("load_from")
    if path and "://" not in str(path):
        require_checkpoint(path)
