"""Keeping a second training out of a work folder."""

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
    """Let one training at a time work in a folder; rank 0 holds it for all processes.

    ``tools/train.py`` takes the folder before anything is written to it; elsewhere this hook
    does so before the first step.

    Args:
        enabled (bool): Defaults to True.
    """

    #: Before the other hooks read checkpoints.
    priority = "VERY_HIGH"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_run(self, runner: Runner) -> None:
        """Take the folder, if the runner trains.

        Args:
            runner (Runner): The runner, its loops built.

        Raises:
            WorkFolderError: If another training works there.
        """
        loop = runner._train_loop
        if not self.enabled or not isinstance(loop, BaseLoop):
            return
        hold_for_all(runner.work_dir)
        if is_main_process():
            at_end(loop, partial(release, runner.work_dir))


def hold_for_all(folder: str) -> None:
    """Take a folder in rank 0, and tell all processes of the run whether it is free.

    Args:
        folder (str): The work folder.

    Raises:
        WorkFolderError: In every process, if another training works there.
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
