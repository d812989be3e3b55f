"""Lock the work folder against a second training run."""

from __future__ import annotations

from functools import partial
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop

from smallvit.engine.ending import at_end
from smallvit.engine.work_folder import hold, release
from smallvit.errors import WorkFolderError
from smallvit.registry import HOOKS


@HOOKS.register_module()
class WorkFolderHook(Hook):
    """Allow one training run at a time in a work folder; rank 0 holds the lock.

    ``tools/train.py`` locks the folder before anything is written to it. In other programs, this
    hook locks it before the first step.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs before the other hooks, which read checkpoints.
    priority = "VERY_HIGH"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_run(self, runner: Runner) -> None:
        """Lock the folder if the runner trains; refuse a folder that another run uses."""
        loop = runner._train_loop
        if not self.enabled or not isinstance(loop, BaseLoop):
            return
        hold_for_all(runner.work_dir)
        if is_main_process():
            at_end(loop, partial(release, runner.work_dir))


def hold_for_all(folder: str) -> None:
    """Lock a folder in rank 0, and report to all processes whether it is free.

    Args:
        folder (str): The work folder.

    Raises:
        WorkFolderError: In every process, if another training run uses the folder.
    """
    failure: list[Any] = [None]
    if is_main_process():
        try:
            hold(folder)
        except WorkFolderError as error:
            failure = [str(error)]
    broadcast_object_list(failure)
    if failure[0] is not None:
        raise WorkFolderError(failure[0])
