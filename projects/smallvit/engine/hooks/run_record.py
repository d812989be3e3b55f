"""Record a run in ``run.json``."""

from __future__ import annotations

import json
import os
import os.path as osp
import time
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.engine.checkpoint.run_files import is_id, run_files
from smallvit.engine.run_record import FILE, damage_of, new_record, plain_number, read_record
from smallvit.registry import HOOKS
from smallvit.utils.files import write_whole


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Maintain ``run.json`` in the work folder.

    The record contains the resolved config, the command, package versions, seed, git commits,
    data fingerprints, wall time, the best and the final metrics, and the status of the run. A
    resumed run adds a session to the record of the run that it continues.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs after the checkpoint hook, which decides which metric is best.
    priority = "LOWEST"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self.record: dict[str, Any] = {}
        self._began = 0.0

    def before_train(self, runner: Runner) -> None:
        """Start the record, or a new session in it."""
        if not self.enabled or not is_main_process():
            return
        self._began = time.monotonic()
        self.record = new_record(runner, run_files(runner).id, _earlier(runner))
        self._write(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Record the progress."""
        self._write(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Record the metrics."""
        if not self.record:
            return
        self.record["final"] = {
            "epoch": runner.epoch,
            "iter": runner.iter,
            "metrics": {name: plain_number(value) for name, value in (metrics or {}).items()},
        }
        info = runner.message_hub.runtime_info
        scores = {name: plain_number(info[name]) for name in info if name.startswith("best_score")}
        paths = {name: info[name] for name in info if name.startswith("best_ckpt")}
        if scores:
            self.record["best"] = {**scores, **paths}
        self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Complete the record."""
        if self.record:
            self.record["status"] = "finished"
            self._write(runner)

    def after_preemption(self, runner: Runner) -> None:
        """Record that the run was preempted."""
        if self.record:
            self.record["status"] = "preempted"
            self._write(runner)

    def _write(self, runner: Runner) -> None:
        if not self.record:
            return
        session = self.record["sessions"][-1]
        session.update(seconds=time.monotonic() - self._began, epoch=runner.epoch, iter=runner.iter)
        self.record["wall_seconds"] = sum(each["seconds"] for each in self.record["sessions"])
        write_whole(osp.join(runner.work_dir, FILE), json.dumps(self.record, indent=2))


def _earlier(runner: Runner) -> dict[str, Any]:
    """Load the record that this run continues; rename the record of another run."""
    path = osp.join(runner.work_dir, FILE)
    found, damage = read_record(runner.work_dir), damage_of(runner.work_dir)
    if damage is not None:
        kept = _unused(osp.join(runner.work_dir, "run-damaged{}.json"))
        os.replace(path, kept)
        runner.logger.warning(
            f"{path} is damaged ({damage}): starting a new record; the damaged one is kept as "
            f"{osp.basename(kept)}"
        )
        return {}
    if not found:
        return {}
    before = found.get("id")
    # Version 0.1 wrote no run ID, so a run resumed in such a folder counts as the same run.
    begun = before is None and runner._resume and runner.iter > 0
    if begun or before == run_files(runner).id:
        return found
    label = before[:8] if is_id(before) else "earlier"
    os.replace(path, osp.join(runner.work_dir, f"run-{label}.json"))
    return {}


def _unused(template: str) -> str:
    number, path = 1, template.format("")
    while osp.lexists(path):
        number, path = number + 1, template.format(f"-{number + 1}")
    return path
