"""Resume a run so that it gives the same result as an uninterrupted one."""

from __future__ import annotations

from functools import partial
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from smallvit.engine.checkpoint.by_name import adopt_training_state
from smallvit.engine.checkpoint.groups import regroup
from smallvit.engine.checkpoint.newest import newest_whole_checkpoint
from smallvit.engine.checkpoint.resumed import continue_training, named, require_resumable
from smallvit.engine.guarded_loader import GuardedLoader, guard_loader
from smallvit.engine.pending_gradients import pending_gradients, restore_gradients
from smallvit.engine.random_states import get_states, set_states
from smallvit.engine.rank_buffers import own_buffers, restore_buffers
from smallvit.engine.training_state import collect_training_state, restore_training_state
from smallvit.errors import CheckpointError
from smallvit.registry import HOOKS

#: Checkpoint key of the state that MMEngine does not store.
KEY = "smallvit"


@HOOKS.register_module()
class ResumeHook(Hook):
    """Store and restore training state that MMEngine leaves out of checkpoints.

    This includes the random states and running statistics of every process, the position in the
    epoch, the seeds of the data order, and trained parts of plugins that are not in the state dict.
    Validation does not change the random state of training, and a validation that was due when the
    run was interrupted is run on resume. Without a given checkpoint, the newest complete one in the
    work folder is resumed.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs first, so that random states are set before, and read after, all other hooks.
    priority = "VERY_HIGH"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self.loader: GuardedLoader | None = None
        self.position = 0
        self._collected: dict[str, Any] | None = None
        self._resumed: dict[str, Any] | None = None
        self._in_training: dict[str, Any] | None = None
        self._validated = False
        self._path = "the resumed checkpoint"

    def before_run(self, runner: Runner) -> None:
        """Choose the checkpoint to resume, and make the data order reproducible."""
        loop = runner._train_loop
        if not self.enabled or not hasattr(loop, "run"):
            return
        choose_checkpoint(runner)
        self.loader = guard_loader(loop)
        if self.loader is not None:
            # Generators do not accept negative seeds, but the run's seed may be negative.
            self.loader.batch_sampler.seed = (abs(int(runner.seed)), get_rank())
        runner.register_hook(_MissedValidation(self), priority="LOWEST")

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the added state; refuse to resume without training state, or if it is invalid."""
        if not self.enabled or not runner._resume:
            return
        adopt_training_state(runner, checkpoint)
        require_resumable(checkpoint, runner._load_from)
        regroup(runner, checkpoint)
        continue_training(runner, checkpoint)
        self._resumed, self._path = checkpoint.get(KEY), str(runner._load_from)
        if self._resumed is not None and not _is_state(self._resumed):
            raise CheckpointError(
                f"{runner._load_from}: its state of the training processes is damaged. Resume from "
                "an earlier checkpoint"
            )

    def before_train(self, runner: Runner) -> None:
        """Move the data loader to the position of the checkpoint."""
        if not self.enabled or self.loader is None or not runner._resume:
            return
        with named(runner._load_from):
            self._restore(runner)

    def _restore(self, runner: Runner) -> None:
        loop = runner.train_loop
        restore_training_state(runner.model, (self._resumed or {}).get("modules", {}))
        if self._resumed is None and runner.iter > 0:
            runner.logger.warning(
                "the checkpoint has no random states, because MMEngine wrote it: the data order "
                "continues, but random numbers are reseeded"
            )
        own = self._own_state(runner)
        if own is not None:
            self._restore_seeds(own)
            restore_buffers(runner, own.get("buffers", {}))
            restore_gradients(runner, own.get("gradients", {}))
        if isinstance(loop, IterBasedTrainLoop):
            if loop.iter > loop.max_iters:
                raise CheckpointError(
                    f"{runner._load_from} is from iteration {loop.iter}, but training ends at "
                    f"train_cfg.max_iters={loop.max_iters}: nothing is left to train. Increase it "
                    "to train longer"
                )
            loop.dataloader_iterator.skip(loop.iter)
        else:
            self._enter_epoch(runner)

    def _own_state(self, runner: Runner) -> dict[str, Any] | None:
        if self._resumed is None:
            return None
        processes = self._resumed["processes"]
        if len(processes) != get_world_size():
            runner.logger.warning(
                f"the checkpoint was written by {len(processes)} processes, but this run has "
                f"{get_world_size()}: random numbers and data order are reseeded, so the result "
                "will differ from that of an uninterrupted run"
            )
            self._resumed = None
            return None
        return processes[get_rank()]

    def _restore_seeds(self, own: dict[str, Any]) -> None:
        batches = self.loader.batch_sampler
        batches.seed = tuple(own["data_seed"])
        sampler = getattr(batches.batch_sampler, "sampler", None)
        if own["sampler_seed"] is not None and hasattr(sampler, "seed"):
            sampler.seed = own["sampler_seed"]
            batches.restart()

    def _enter_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        stored = (self._resumed or {}).get("position")
        # MMEngine does not store the position in the epoch; it follows from the iteration.
        begun = runner.iter - runner.epoch * len(loop.dataloader)
        self.position = stored if stored is not None else max(0, begun)
        if self.position > len(loop.dataloader):
            # The batch size has changed, so the iteration does not determine the position.
            self.position = 0
        if not self.position:
            return
        if type(loop).run_epoch is not EpochBasedTrainLoop.run_epoch:
            raise CheckpointError(
                f"{runner._load_from} was written in the middle of an epoch, where "
                f"{type(loop).__name__} cannot resume. Use a checkpoint from the end of an epoch"
            )
        loop.run_epoch = partial(self._finish_epoch, loop, self.position)

    def _finish_epoch(self, loop: EpochBasedTrainLoop, position: int) -> None:
        del loop.run_epoch  # the following epochs run in full
        loop.runner.call_hook("before_train_epoch")
        loop.runner.model.train()
        self.loader.batch_sampler.fast_forward(position)
        for number, batch in enumerate(loop.dataloader, start=position):
            loop.run_iter(number, batch)
        loop.runner.call_hook("after_train_epoch")
        loop._epoch += 1

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the random streams of the epoch; at its start, restore the random states."""
        if self.loader is None or isinstance(runner.train_loop, IterBasedTrainLoop):
            return
        self.loader.batch_sampler.epoch = runner.epoch
        if not self.position:
            self._restore_states()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Restore the random states before the first step after a checkpoint."""
        self._collected = None
        if self._resumed is not None:
            self._restore_states()

    def _restore_states(self) -> None:
        if self._resumed is not None:
            with named(self._path):
                set_states(self._resumed["processes"][get_rank()]["random"])
            self._resumed = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Update the position in the epoch."""
        self.position = batch_idx + 1
        self._validated = False

    def after_train_epoch(self, runner: Runner) -> None:
        """Reset the position, as no epoch is in progress."""
        self.position = 0

    def before_val(self, runner: Runner) -> None:
        """Save the random states of training."""
        if self.enabled and self.loader is not None:
            self._in_training = get_states()
            self._validated = True

    def after_val(self, runner: Runner) -> None:
        """Restore the random states of training."""
        if self._in_training is not None:
            set_states(self._in_training)
            self._in_training = None

    def collect_state(self, runner: Runner) -> None:
        """Gather the state of all processes, for a checkpoint that rank 0 writes."""
        if self.enabled and self.loader is not None:
            own = {**self._process_state(runner), "buffers": own_buffers(runner)}
            self._collected = self._state(all_gather_object(own))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state to the checkpoint."""
        if not self.enabled or self.loader is None:
            return
        if self._collected is None and get_world_size() > 1:
            runner.logger.warning(
                "the checkpoint does not contain the random states of the other processes. Set "
                "default_hooks.checkpoint.type='smallvit.AtomicCheckpointHook'"
            )
            return
        checkpoint[KEY] = self._collected or self._state([self._process_state(runner)])
        checkpoint[KEY]["modules"] = collect_training_state(runner.model)
        self._collected = None

    def _state(self, processes: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "processes": processes,
            "position": self.position,
            "validated": self._validated,
        }

    def _process_state(self, runner: Runner) -> dict[str, Any]:
        batches = self.loader.batch_sampler
        sampler = getattr(batches.batch_sampler, "sampler", None)
        return {
            "random": self._in_training or get_states(),
            "gradients": pending_gradients(runner),
            "data_seed": list(batches.seed),
            "sampler_seed": getattr(sampler, "seed", None),
        }

    @property
    def missed_validation(self) -> bool:
        """bool: Whether the checkpoint was written before a validation that may be due."""
        return self._resumed is not None and not self._resumed["validated"] and not self.position


def _is_state(state: Any) -> bool:
    """Whether the added state has the form in which this hook writes it."""
    kinds = {"processes": list, "position": int, "validated": bool, "modules": dict}
    if not isinstance(state, dict) or any(
        not isinstance(state.get(key), kind) for key, kind in kinds.items()
    ):
        return False
    keys = {"random", "data_seed", "sampler_seed"}
    return state["position"] >= 0 and all(
        isinstance(own, dict) and keys <= own.keys() for own in state["processes"]
    )


class _MissedValidation(Hook):
    """Run the validation that was due when the run was interrupted, after all other hooks."""

    def __init__(self, owner: ResumeHook) -> None:
        self.owner = owner

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        by_iteration = isinstance(loop, IterBasedTrainLoop)
        done = loop.iter if by_iteration else loop.epoch
        last = loop.max_iters if by_iteration else loop.max_epochs
        if by_iteration:
            self.owner.position = 0
        if not self.owner.missed_validation or not done or runner.val_loop is None:
            return
        loop._decide_current_val_interval()
        if done >= loop.val_begin and (done % loop.val_interval == 0 or done == last):
            runner.logger.info("running the validation that was due when the run was interrupted")
            runner.val_loop.run()


def choose_checkpoint(runner: Runner) -> None:
    """Select the newest complete checkpoint for a run that resumes without naming one.

    Rank 0 chooses for all processes.

    Args:
        runner (Runner): The runner, whose ``load_from`` is set in place.

    Raises:
        CheckpointError: If the work folder has checkpoints, but none is complete.
    """
    if not runner._resume or runner._load_from is not None or runner._has_loaded:
        return
    chosen: list[Any] = [None, None]
    if get_rank() == 0:
        try:
            chosen[0] = newest_whole_checkpoint(runner.work_dir)
        except CheckpointError as error:
            chosen[1] = str(error)
    broadcast_object_list(chosen)
    path, failure = chosen
    if failure is not None:
        raise CheckpointError(failure)
    if path is None:
        runner.logger.warning(f"no checkpoint in {runner.work_dir}: training from the beginning")
    runner._load_from = path
