"""Save a checkpoint and stop when the run is preempted by a signal."""

from __future__ import annotations

import signal
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import get_comm_device, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop

from smallvit.engine.ending import at_end
from smallvit.engine.hooks.atomic_checkpoint import AtomicCheckpointHook
from smallvit.errors import PreemptedError
from smallvit.registry import HOOKS
from smallvit.utils.signals import end_request, start_shielded


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Save a checkpoint at the next step after SIGTERM or SIGUSR1, and end the run.

    ``tools/train.py`` then exits with status 75, and ``--resume`` continues as if the run had
    not been interrupted. A signal to one process stops all processes after the same step, one step
    later. A second signal more than five seconds after the first ends the process immediately.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_run(self, runner: Runner) -> None:
        """Install signal handlers, in this process and in the data-loader workers."""
        loop = runner._train_loop
        if not self.enabled or not isinstance(loop, BaseLoop):
            return
        if not end_request.catch():
            runner.logger.info(
                "SIGTERM and SIGUSR1 already have handlers and will not save a checkpoint"
            )
        at_end(loop, end_request.release)
        for each in (loop, runner._val_loop):
            if isinstance(each, BaseLoop):
                loader = each.dataloader
                loader.worker_init_fn = partial(start_shielded, loader.worker_init_fn)
        # Runs after all other hooks, whose state is saved.
        runner.register_hook(_Stop(), priority="LOWEST")


class _Stop(Hook):
    """Check for a stop request after each step."""

    def __init__(self) -> None:
        self.shared = _SharedNumber()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        number = end_request.number
        if get_world_size() > 1:
            number = self.shared.exchange(number)
        if number:
            _stop(runner, number)

    def after_train(self, runner: Runner) -> None:
        self.shared.finish()


class _SharedNumber:
    """Maximum of a number over all processes, available one call later.

    The reduction runs asynchronously during the step in between, so that no process waits for
    another. For a tensor on the GPU, MMEngine has already synchronized to read the loss.
    """

    def __init__(self) -> None:
        self._under_way: tuple[Any, torch.Tensor] | None = None

    def exchange(self, number: int) -> int:
        earlier = self.finish()
        value = torch.full((1,), number, dtype=torch.int32, device=get_comm_device())
        self._under_way = dist.all_reduce(value, op=dist.ReduceOp.MAX, async_op=True), value
        return earlier

    def finish(self) -> int:
        if self._under_way is None:
            return 0
        (work, value), self._under_way = self._under_way, None
        work.wait()
        return int(value)


def _stop(runner: Runner, number: int) -> None:
    hooks = (hook for hook in runner._hooks if isinstance(hook, AtomicCheckpointHook))
    path = (next(hooks, None) or AtomicCheckpointHook()).save_out_of_turn(runner)
    runner.call_hook("after_preemption")
    end_request.serve()
    raise PreemptedError(
        f"{signal.Signals(number).name} ended the training after iteration {runner.iter + 1}; "
        f"{path} is saved, and train.py --resume continues from it"
    )
