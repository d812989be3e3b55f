"""Atomic checkpoint writing."""

from __future__ import annotations

import os
import os.path as osp
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch import nn

from smallvit.engine.checkpoint.newest import POINTER, TEMPORARY, last_checkpoint, pointer_to
from smallvit.engine.checkpoint.resumed import KEPT, continue_training, require_resumable
from smallvit.engine.checkpoint.run_files import KEY, RunFiles, run_files
from smallvit.engine.rank_buffers import models_of
from smallvit.errors import CheckpointError, NonFiniteError
from smallvit.registry import HOOKS
from smallvit.utils.files import flush_folder, flush_to_disk, remove_quietly, write_whole

#: File name of a checkpoint that was saved outside the regular interval.
OUT_OF_TURN = "preempted.pth"


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Checkpoint hook that writes atomically and never loses the last good checkpoint.

    A checkpoint is written to a temporary file, flushed to disk and renamed. Then the pointer
    ``last_checkpoint`` is updated, and finally old checkpoints are removed, but only those that
    this run wrote to its own folder. An existing checkpoint of another run with the same name is
    renamed first. Non-finite weights are never written.

    Args:
        **kwargs: Arguments of :class:`mmengine.hooks.CheckpointHook`.
    """

    def before_train(self, runner: Runner) -> None:
        """Make the runner write atomically, and remove leftovers of an interrupted write."""
        files, surplus = run_files(runner), self._too_many(runner)
        # Strategies write from every process, so all ranks share the id and the mark.
        files.id, mark = _of_rank_0((files.id, secrets.token_hex(4)))
        super().before_train(runner)
        #: Preemption checkpoint of an earlier session, obsolete once a newer checkpoint exists.
        self._superseded = osp.join(self.out_dir, OUT_OF_TURN)
        #: Checkpoints that this process wrote to storage other than local disks.
        self._elsewhere: set[str] = set()
        if not isinstance(self.file_backend, LocalBackend):
            runner.logger.warning(
                f"checkpoints are written with {type(self.file_backend).__name__}, whose writes "
                "may not be atomic"
            )
            return
        if is_main_process():
            _remove_leftovers(self.out_dir, files)
            for path in surplus:
                self._remove(runner, osp.join(self.out_dir, path))
        _make_atomic(runner, mark)

    def _too_many(self, runner: Runner) -> list[str]:
        """Prevent MMEngine from removing old checkpoints, which may be those of another run."""
        hub = runner.message_hub
        steps = hub.runtime_info.get(KEPT)
        if self.max_keep_ckpts <= 0 or not isinstance(steps, list):
            hub.runtime_info.pop(KEPT, None)
            return []
        hub.update_info(KEPT, steps[-self.max_keep_ckpts :])
        return [self.filename_tmpl.format(step) for step in steps[: -self.max_keep_ckpts]]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Continue the run of the loaded checkpoint if it belongs to this work folder."""
        if runner._resume:
            require_resumable(checkpoint, runner._load_from)
            continue_training(runner, checkpoint)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the id of the run in the checkpoint."""
        checkpoint.setdefault("meta", {})[KEY] = run_files(runner).id

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        _require_finite(runner)
        outdated = self._outdated(runner, step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.call_hook("collect_state")
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        if not isinstance(self.file_backend, LocalBackend):
            self._elsewhere.add(self.last_ckpt)
        _move_pointer(runner, self.last_ckpt)
        for path in (*outdated, *filter(None, [self._superseded])):
            self._remove(runner, path)
        self._superseded = None

    def save_out_of_turn(self, runner: Runner) -> str:
        """Save a checkpoint outside the regular interval, before a run that is ending exits.

        It does not count toward ``max_keep_ckpts``, and is removed when the resumed run writes
        its next checkpoint.

        Args:
            runner (Runner): The runner, after an iteration.

        Returns:
            str: Path of the checkpoint.
        """
        _require_finite(runner)
        if self.out_dir is None or not hasattr(self, "file_backend"):  # before_train has not run
            self.out_dir, self.file_backend = runner.work_dir, LocalBackend()
            _make_atomic(runner, _of_rank_0(secrets.token_hex(4)))
        path = self.file_backend.join_path(self.out_dir, OUT_OF_TURN)
        runner.call_hook("collect_state")
        runner.save_checkpoint(
            self.out_dir,
            OUT_OF_TURN,
            self.file_client_args,
            by_epoch=False,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            _move_pointer(runner, path)
        barrier()  # no process exits before the pointer is written
        return path

    def _outdated(self, runner: Runner, step: int) -> list[str]:
        """Add a checkpoint to those that are kept, and return the ones that exceed the limit."""
        if self.max_keep_ckpts <= 0:
            return []
        kept = [number for number in self.keep_ckpt_ids if number != step]
        # The checkpoint also lists those about to be removed: if the run is killed before, the run
        # that resumes from it removes them.
        runner.message_hub.update_info("keep_ckpt_ids", [*kept, step])
        surplus = kept[: max(0, len(kept) + 1 - self.max_keep_ckpts)]
        self.keep_ckpt_ids.extend([step] if step not in self.keep_ckpt_ids else [])
        return [
            self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(number))
            for number in surplus
        ]

    def _remove(self, runner: Runner, path: str) -> None:
        if isinstance(self.file_backend, LocalBackend):
            run_files(runner).remove(path, self.out_dir)
        elif path in self._elsewhere:
            self._elsewhere.discard(path)
            self.file_backend.remove(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        bad = non_finite_weights(runner)
        if bad:
            runner.logger.warning(
                f"no best checkpoint saved: {bad[0]} is not finite ({len(bad)} such weights)"
            )
            return
        runner.call_hook("collect_state")
        backend, deferred = self.file_backend, _DeferredRemovals(self.file_backend)
        self.file_backend = deferred
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        best = self._best_paths()
        if not isinstance(backend, LocalBackend):
            self._elsewhere |= best
        for path in deferred.removed:
            if path not in best:
                self._remove(runner, path)

    def _best_paths(self) -> set[str]:
        several = getattr(self, "best_ckpt_path_dict", {}).values()
        return {path for path in (getattr(self, "best_ckpt_path", None), *several) if path}


class _DeferredRemovals:
    """Storage backend that postpones removals: it records the paths instead."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.removed: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.removed.append(path)

    rmtree = remove


def _make_atomic(runner: Runner, mark: str) -> None:
    if not isinstance(runner.save_checkpoint, partial):
        files = run_files(runner)
        runner.save_checkpoint = partial(_save_whole, runner.save_checkpoint, files, mark)


def _move_pointer(runner: Runner, path: str) -> None:
    with _failing_readably(osp.join(runner.work_dir, POINTER)) as pointer:
        write_whole(pointer, pointer_to(path, runner.work_dir))


def _save_whole(
    save: Callable,
    files: RunFiles,
    mark: str,
    out_dir: str,
    filename: str,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Write with ``Runner.save_checkpoint`` to a temporary file, then rename it.

    The temporary name is unique to this session, as another session of the run may write at the
    same time without holding the lock.
    """
    name = f"{filename}.{files.id}.{mark}{TEMPORARY}"
    path, temporary = osp.join(out_dir, filename), osp.join(out_dir, name)
    try:
        with _failing_readably(path):
            save(out_dir, name, *args, **kwargs)
            barrier()  # strategies write from every process
            if is_main_process():
                files.rename_existing(path)
                _move_into_place(temporary, path)
                files.record(path)
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def _failing_readably(path: str) -> Iterator[str]:
    try:
        yield path
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(
            f"cannot write {path}: {reason}; {_last_good(osp.dirname(path))}"
        ) from error


def _move_into_place(temporary: str, path: str) -> None:
    if osp.isdir(temporary):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with open(temporary, "rb") as file:
            flush_to_disk(file.fileno())
    os.replace(temporary, path)
    flush_folder(osp.dirname(path))


def _remove(path: str) -> None:
    shutil.rmtree(path) if osp.isdir(path) else remove_quietly(path)


def _of_rank_0(value: Any) -> Any:
    shared = [value]
    broadcast_object_list(shared)
    return shared[0]


def _remove_leftovers(folder: str, files: RunFiles) -> None:
    leftover = re.compile(rf"\.{re.escape(files.id)}(\.[0-9a-f]{{8}})?{re.escape(TEMPORARY)}$")
    if osp.isdir(folder):
        for name in os.listdir(folder):
            if leftover.search(name):
                _remove(osp.join(folder, name))


def _last_good(folder: str) -> str:
    path = last_checkpoint(folder)
    if path is None:
        return "there is no earlier checkpoint"
    return f"the last good checkpoint is {path} (train.py --resume continues from it)"


def non_finite_weights(runner: Runner) -> list[str]:
    """Find parameters and running statistics that contain NaN or infinite values.

    Args:
        runner (Runner): The runner whose model, and its EMA if there is one, are checked.

    Returns:
        list[str]: Names of these parameters and buffers.
    """
    names, finite = [], []
    for prefix, model in models_of(runner):
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            # Other buffers may contain infinities on purpose, such as attention masks.
            statistic = name.rpartition(".")[2] in ("running_mean", "running_var")
            if (isinstance(value, nn.Parameter) or statistic) and value.is_floating_point():
                names.append(prefix + name)
                finite.append(torch.isfinite(value.detach()).all())
    if not finite:
        return []
    by_device: dict[torch.device, list[int]] = {}
    for number, flag in enumerate(finite):
        by_device.setdefault(flag.device, []).append(number)
    bad = []
    for numbers in by_device.values():
        flags = torch.stack([finite[number] for number in numbers]).tolist()
        bad += [names[n] for n, good in zip(numbers, flags, strict=True) if not good]
    return bad


def _require_finite(runner: Runner) -> None:
    bad = non_finite_weights(runner)
    if bad:
        raise NonFiniteError(
            f"iteration {runner.iter + 1}: {', '.join(bad[:4])}"
            f"{f' and {len(bad) - 4} more weights' if len(bad) > 4 else ''} are not finite, and "
            f"were not saved; {_last_good(runner.work_dir)}"
        )
