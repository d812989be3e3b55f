"""Validation of the state that a run resumes from."""

from __future__ import annotations

import os.path as osp
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from smallvit.engine.checkpoint.resumed_values import Wrong, describe, wrong_progress
from smallvit.engine.checkpoint.run_files import RunFiles, continue_run, is_inside, run_files
from smallvit.errors import CheckpointError

_HUB = ("log_scalars", "runtime_info", "resumed_keys")
KEPT, BEST = "keep_ckpt_ids", "best_ckpt"


#: Exceptions that invalid values raise when a state is restored.
_WRONG = (
    *(AssertionError, AttributeError, IndexError, KeyError, OverflowError),
    *(RuntimeError, TypeError, ValueError),
)


@contextmanager
def named(path: str) -> Iterator[None]:
    """Context manager that adds the path of the checkpoint to errors from its values.

    Args:
        path (str): Path of the checkpoint.

    Yields:
        None: While the values are restored.

    Raises:
        CheckpointError: With the reason in one line.
    """
    try:
        yield
    except _WRONG as error:
        reason = next(iter(str(error).splitlines()), "")
        if "do not match exactly" in reason:  # followed by MMEngine's list of names
            raise
        raise CheckpointError(
            f"{path}: cannot resume its state with this config: {type(error).__name__}: {reason}"
        ) from error


def name_checkpoints(runner: Runner) -> None:
    """Make a runner name the checkpoint whose values it cannot load or resume.

    Args:
        runner (Runner): The runner, whose load and resume methods are replaced.
    """
    runner.load_checkpoint = partial(_call_named, runner.load_checkpoint)
    runner.resume = partial(_call_named, runner.resume)


def _call_named(method: Callable, filename: str, *args: Any, **kwargs: Any) -> Any:
    with named(filename):
        return method(filename, *args, **kwargs)


def require_resumable(checkpoint: dict[str, Any], path: str) -> None:
    """Check that a checkpoint has training state in MMEngine's form.

    Args:
        checkpoint (dict): The loaded checkpoint.
        path (str): Its path, for the error.

    Raises:
        CheckpointError: If it has no training state, or in another form.
    """
    meta, hub = checkpoint.get("meta"), checkpoint.get("message_hub")
    if not isinstance(meta, dict) or hub is None or not {"epoch", "iter"} <= set(meta):
        raise CheckpointError(
            f"{path}: contains weights, but no training state. To start a new training from them, "
            "set load_from without resume"
        )
    wrong = ["message_hub"]
    if isinstance(hub, dict):
        wrong = [f"message_hub.{name}" for name in _HUB if not isinstance(hub.get(name), dict)]
    if wrong:
        raise CheckpointError(
            f"{path}: invalid training state in {', '.join(wrong)}: damaged or manipulated"
        )
    refuse(path, wrong_progress(checkpoint))


def refuse(path: str, wrong: Iterable[Wrong]) -> None:
    """Refuse a checkpoint with invalid values.

    Args:
        path (str): Its path, for the error.
        wrong (Iterable): The values, as :mod:`.resumed_values` finds them.

    Raises:
        CheckpointError: If there are any; the message lists up to four.
    """
    found = [describe(each) for each in wrong]
    if found:
        raise CheckpointError(
            f"{path}: {'; '.join(found[:4])}: damaged or manipulated, not resumed"
        )


def is_count(value: Any) -> bool:
    """Check whether a value can be a number of epochs or iterations.

    Args:
        value (Any): A value from a checkpoint.

    Returns:
        bool: Whether it is a non-negative integer in the accepted range.
    """
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def continue_training(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Continue the run of a checkpoint, without entries that run code or remove other runs' files.

    Args:
        runner (Runner): The runner that resumes.
        checkpoint (dict): The loaded checkpoint with training state, changed in place.
    """
    files = run_files(runner)
    if files.resumed:
        return
    files.resumed = True
    if not continue_run(runner, checkpoint):
        runner.logger.info(
            f"the checkpoint does not belong to the recorded run in {runner.work_dir}; starting a "
            "new run, which removes no files of other runs"
        )
    # MMEngine would execute meta["config"] on resume; its inferencers would execute ``cfg``.
    checkpoint["meta"].pop("config", None)
    info = checkpoint["message_hub"]["runtime_info"]
    info.pop("cfg", None)
    if not is_main_process():
        return  # only rank 0 removes checkpoints
    hooks = [hook for hook in runner._hooks if isinstance(hook, CheckpointHook)]
    folders = {checkpoint_folder(runner, hook) for hook in hooks}
    if KEPT in info:
        info[KEPT] = list(_own_steps(runner, files, hooks, info[KEPT]))
    for name in [key for key in info if key.startswith(BEST)]:
        own = next((path for each in folders if (path := own_path(files, info[name], each))), None)
        if own is None:
            runner.logger.info(f"ignoring the best checkpoint {info.pop(name)!r} of another run")
        else:
            info[name] = own


def checkpoint_folder(runner: Runner, hook: CheckpointHook) -> str:
    """Find the folder to which a checkpoint hook writes.

    Args:
        runner (Runner): The runner that trains.
        hook (CheckpointHook): One of its hooks, before its ``before_train``.

    Returns:
        str: Path of the folder.
    """
    out_dir = getattr(hook, "out_dir", None)
    if out_dir is None or out_dir == runner.work_dir:
        return runner.work_dir
    return osp.join(out_dir, osp.basename(runner.work_dir.rstrip(osp.sep)))


def _own_steps(
    runner: Runner, files: RunFiles, hooks: list[CheckpointHook], steps: Any
) -> Iterator[int]:
    for step in steps if isinstance(steps, (list, tuple)) else ():
        names = [
            osp.join(checkpoint_folder(runner, hook), hook.filename_tmpl.format(step))
            for hook in hooks
            if is_count(step)
        ]
        if any(files.own(name) for name in names):
            yield step


def own_path(files: RunFiles, path: Any, folder: str) -> str | None:
    """Find a checkpoint of a run in its folder, which may have been moved or copied.

    Args:
        files (RunFiles): The files that the run wrote.
        path (Any): A path from a checkpoint, such as that of the best one.
        folder (str): Folder to which the run writes its checkpoints.

    Returns:
        str | None: Path of the run's own file; None if there is none.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        return None
    path = path if is_inside(path, folder) else osp.join(folder, osp.basename(path))
    return path if files.own(path) else None
