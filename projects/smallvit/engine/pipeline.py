"""Pipeline from a config file to a run, as an ordered list of steps (:data:`STEPS`).

Tools that train or test run all steps. Tools that only inspect a config run the steps up to
``install`` (:func:`resolve`), and programs with their own config the steps after it
(:func:`adapt_config`, :func:`build_runner`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from smallvit.engine import install as installs
from smallvit.engine.accumulation import average_by_steps, scale_rate_by_steps
from smallvit.engine.checkpoint.reading import require_checkpoint
from smallvit.engine.checkpoint.resumed import name_checkpoints
from smallvit.engine.class_weights import resolve_class_weights
from smallvit.engine.config_files import keep_own_file, merge_options, read_config, require_keys
from smallvit.engine.config_keys import check_keys
from smallvit.engine.cpu_memory import keep_freed_memory
from smallvit.engine.distributed import (
    is_first_process,
    prepare_cpu_processes,
    require_a_gpu_each,
    require_accelerator,
)
from smallvit.engine.folder import fit_to_folder
from smallvit.engine.guards import add_guards
from smallvit.engine.hooks.resume import choose_checkpoint
from smallvit.engine.hooks.work_folder import hold_for_all
from smallvit.engine.masked_models import check_masking
from smallvit.engine.precision import replace_unsupported_amp
from smallvit.engine.start_files import require_pretrained
from smallvit.engine.work_folder import hold
from smallvit.layers.attention_form import use_faster_attention

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


@dataclass
class Request:
    """Request of a tool, and the results of the steps so far.

    Args:
        path (str, optional): The config file. Defaults to None, if ``cfg`` is given.
        needs (tuple[str, ...]): Keys that the config must set. Defaults to ().
        purpose (str): Name of the tool, for messages. Defaults to "the tool".
        set_flags (Callable, optional): Applies the command-line flags to the config. Defaults
            to None.
        overrides (dict, optional): Dotted keys and values with the highest precedence.
            Defaults to None.
        checkpoint (str, optional): Checkpoint to be tested, whose classes take precedence over
            those of the folder. Defaults to None.
        cfg (Config, optional): The config, set by the step ``read``. Defaults to None.
        runner (Runner, optional): The runner, set by the step ``build``. Defaults to None.
    """

    path: str | None = None
    needs: tuple[str, ...] = ()
    purpose: str = "the tool"
    set_flags: Callable[[Config], None] | None = None
    overrides: dict | None = None
    checkpoint: str | None = None
    cfg: Config | None = None
    runner: Runner | None = None


Step = Callable[[Request], None]


def read(request: Request) -> None:
    """Read the config file and merge its base configs."""
    request.cfg = read_config(request.path)
    require_keys(request.cfg, request.needs, request.purpose)


def set_flags(request: Request) -> None:
    """Apply the tool's command-line flags."""
    if request.set_flags is not None:
        request.set_flags(request.cfg)


def override(request: Request) -> None:
    """Merge ``--cfg-options``, which take precedence over everything else."""
    merge_options(request.cfg, request.overrides)
    _fit_workers(request.cfg, request.overrides or {})


def check_spelling(request: Request) -> None:
    """Refuse misspelled options and invalid models."""
    check_keys(request.cfg)
    check_masking(request.cfg)


def fit_folder(request: Request) -> None:
    """Adapt a config with ``fit_to_folder`` to its image folder."""
    fit_to_folder(request.cfg, request.checkpoint)


def install(request: Request) -> None:
    """Install the checked readers of checkpoints, images and stores in this process."""
    installs.install(request.cfg.get("default_scope"))


def find_weights(request: Request) -> None:
    """Check that the checkpoints to start from exist, before anything is built."""
    check_weights(request.cfg)
    if "optim_wrapper" in request.needs:  # a test does not initialize from files
        require_pretrained(request.cfg)


def weigh_classes(request: Request) -> None:
    """Count the training images if class weights depend on them."""
    if not request.needs or "optim_wrapper" in request.needs:  # a test needs no loss
        resolve_class_weights(request.cfg)


def fit_machine(request: Request) -> None:
    """Adapt precision and distribution to the available devices."""
    require_a_gpu_each(request.cfg)
    require_accelerator(request.cfg)
    replace_unsupported_amp(request.cfg)
    prepare_cpu_processes(request.cfg)


def accumulate(request: Request) -> None:
    """Make EMA hooks count optimizer steps if gradients are accumulated."""
    average_by_steps(request.cfg)


def guard(request: Request) -> None:
    """Add the default hooks that the config does not set."""
    add_guards(request.cfg)


def take_folder(request: Request) -> None:
    """Lock the work folder before anything is written to it."""
    settings = request.cfg.default_hooks.get("work_folder")
    if not settings or not settings.get("enabled", True) or "optim_wrapper" not in request.needs:
        return
    if is_distributed():
        hold_for_all(request.cfg.work_dir)
    elif is_first_process(request.cfg.get("launcher", "none")):
        hold(request.cfg.work_dir)


def build(request: Request) -> None:
    """Build the runner."""
    request.runner = build_runner(request.cfg)


#: Each step changes ``request.cfg``; nothing else changes it between the file and the run.
STEPS: tuple[Step, ...] = (
    read,
    set_flags,
    override,
    check_spelling,
    fit_folder,
    install,
    find_weights,
    weigh_classes,
    fit_machine,
    accumulate,
    guard,
    take_folder,
    build,
)


def take_steps(request: Request, first: Step = read, last: Step = build) -> Request:
    """Run a part of :data:`STEPS`.

    Args:
        request (Request): The request, changed in place.
        first (Step): First step to run. Defaults to ``read``.
        last (Step): Last step to run. Defaults to ``build``.

    Returns:
        Request: ``request``.
    """
    for step in STEPS[STEPS.index(first) : STEPS.index(last) + 1]:
        step(request)
    return request


def resolve(
    path: str,
    overrides: dict | None = None,
    needs: tuple[str, ...] = (),
    purpose: str = "the tool",
) -> Config:
    """Resolve a config as for a run, without running it.

    Args:
        path (str): The config file.
        overrides (dict, optional): Dotted keys and values with precedence. Defaults to None.
        needs (tuple[str, ...]): Keys that the config must set. Defaults to ().
        purpose (str): Name of the tool, for messages. Defaults to "the tool".

    Returns:
        Config: The config. Checkpoints, images and stores are read with checks from then on.
    """
    request = Request(path, needs=needs, purpose=purpose, overrides=overrides)
    return take_steps(request, last=install).cfg


def adapt_config(cfg: Config) -> None:
    """Adapt any MM config to this machine, and add the default hooks.

    Args:
        cfg (Config): The merged config, changed in place.
    """
    take_steps(Request(cfg=cfg), first=install, last=guard)


def build_runner(cfg: Config) -> Runner:
    """Build the Runner of a config.

    Args:
        cfg (Config): The prepared config.

    Returns:
        Runner: MMEngine's Runner, or an instance of ``runner_type``.
    """
    keep_own_file(cfg)
    if get_device() == "cpu":
        keep_freed_memory()
    if "runner_type" not in cfg:
        runner = Runner.from_cfg(cfg)
        use_faster_attention(runner.model)
        scale_rate_by_steps(runner)
        name_checkpoints(runner)
        return runner
    runner = RUNNERS.build(cfg)
    name_checkpoints(runner)
    choose_checkpoint(runner)  # a FlexibleRunner loads it before it calls any hook
    return runner


def check_weights(cfg: Config) -> None:
    """Check that the checkpoint to start from exists.

    Args:
        cfg (Config): The merged config.

    Raises:
        CheckpointError: If the file that ``load_from`` names does not exist.
    """
    path = cfg.get("load_from")
    if path and "://" not in str(path):
        require_checkpoint(path)


def _fit_workers(cfg: Config, overrides: dict) -> None:
    """Disable persistent workers if there are no workers; torch refuses the combination."""
    for name in LOADERS:
        loader = cfg.get(name)
        asked = f"{name}.persistent_workers" in overrides
        if loader is not None and not loader.get("num_workers") and not asked:
            loader.persistent_workers = False
