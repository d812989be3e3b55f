"""Apply the config's settings to a resumed run, and report those that changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook
from mmengine.runner import Runner

from smallvit.engine.checkpoint.resumed import named, refuse, require_resumable
from smallvit.engine.checkpoint.resumed_values import wrong_optimizer
from smallvit.engine.optimizer_settings import (
    ConfiguredOptimizer,
    apply_configured,
    remember_optimizers,
)
from smallvit.engine.run_settings import settings_of
from smallvit.errors import CheckpointError
from smallvit.registry import HOOKS
from smallvit.utils.data_fingerprint import same_data

#: Checkpoint key of the settings of its run.
KEY = "smallvit_settings"
#: State of the libraries' hooks that have no ``state_dict``.
HOOK_STATE = {EarlyStoppingHook: ("wait_count", "best_score")}


@HOOKS.register_module()
class ResumedSettingsHook(Hook):
    """Compare the settings of a resumed run with those stored in its checkpoint.

    A changed number of epochs, learning rate, schedule, weight decay or batch size takes effect
    and is logged; MMEngine silently restores the checkpoint's values instead. A change of the
    training data is logged. The state of other hooks is restored as well: early stopping, and
    each hook with ``state_dict()`` and ``load_state_dict(state)``.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs before ``ResumeHook``, which moves the loader to the checkpoint's position.
    priority = "HIGHEST"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self.settings: dict[str, Any] = {}
        self._configured: list[ConfiguredOptimizer] = []
        self._stored: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the config's settings, and convert the position to its batch size."""
        if not self.enabled or not runner._resume or "optimizer" not in checkpoint:
            return
        require_resumable(checkpoint, runner._load_from)
        refuse(runner._load_from, wrong_optimizer(runner, checkpoint))
        self._configured = remember_optimizers(runner)
        self._stored = {
            "schedulers": checkpoint.get("param_schedulers") or [],
            **(checkpoint.get(KEY) or {}),
        }
        self._check_groups(runner, checkpoint["optimizer"])
        if "ema_state_dict" in checkpoint and not _averages(runner):
            runner.logger.warning(
                f"{runner._load_from} contains averaged weights (EMA), but the config has no EMA "
                "hook: training continues from state_dict, which contains the average unless "
                "KeptEMAHook wrote it. To continue the EMA, add the hook to custom_hooks"
            )
        self.settings = settings_of(runner)
        _fit_place(runner, checkpoint, self._stored.get("settings") or {}, self.settings)

    def _check_groups(self, runner: Runner, optimizer: dict) -> None:
        stored = optimizer.get("param_groups")
        if stored is None or len(self._configured) != 1:
            return
        sizes = [len(group["params"]) for group in stored]
        # An optimizer wrapper may add a group, which is not stored with the others.
        optimizer = self._configured[0].wrapper.optimizer
        own = [len(group["params"]) for group in optimizer.param_groups]
        if sizes != own:
            raise CheckpointError(
                f"{runner._load_from}: its optimizer has {len(sizes)} parameter groups of "
                f"{sum(sizes)} parameters, the config's {len(own)} of {sum(own)}. To start a new "
                "training from its weights, set load_from=FILE without --resume"
            )

    def before_train(self, runner: Runner) -> None:
        """Apply the config's settings over those of the checkpoint."""
        if not self.enabled or not hasattr(runner.train_loop, "dataloader"):
            return
        self.settings = self.settings or settings_of(runner)
        for configured, schedulers in zip(self._configured, self._scheduler_states(), strict=True):
            said = apply_configured(runner, configured, schedulers)
            if said:
                runner.logger.warning(said)
        for said in _differences(self._stored.get("settings") or {}, self.settings, runner):
            runner.logger.warning(said)
        with named(runner._load_from):
            _restore_hooks(runner, self._stored.get("hooks") or {})
        self._configured, self._stored = [], {}

    def _scheduler_states(self) -> list[list[dict]]:
        stored = self._stored.get("schedulers", [])
        return (
            list(stored.values()) if isinstance(stored, dict) else [stored][: len(self._configured)]
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the settings and the states of hooks to the checkpoint."""
        if self.enabled and self.settings:
            checkpoint[KEY] = {"settings": self.settings, "hooks": _hook_states(runner)}


def _averages(runner: Runner) -> bool:
    return any(isinstance(hook, EMAHook) for hook in runner.hooks)


def _fit_place(runner: Runner, checkpoint: dict, stored: dict, current: dict) -> None:
    """Convert the position in epoch-based training to another batch size."""
    meta, length = checkpoint["meta"], current["iterations"]
    if length is None or not {"epoch", "iter"} <= set(meta):
        return
    former = stored.get("iterations")
    if former is None and meta["epoch"] and meta["iter"] % meta["epoch"] == 0:
        former = meta["iter"] // meta["epoch"]  # written by MMEngine, at the end of an epoch
    if former in (None, length) or meta["iter"] < meta["epoch"] * former:
        return
    begun = meta["iter"] - meta["epoch"] * former
    images = begun * (stored.get("batch_size") or 0)
    position = min(images // (current["batch_size"] or 1), length - 1) if begun else 0
    meta["iter"] = meta["epoch"] * length + position
    state = checkpoint.get("smallvit")
    if isinstance(state, dict) and "position" in state:
        state["position"] = position


def _differences(stored: dict, current: dict, runner: Runner) -> Iterator[str]:
    changed = {key for key in current if stored.get(key) not in (None, current[key])}
    if "data" in changed and same_data(stored["data"], current["data"]):
        changed.remove("data")
    if "batch_size" in changed:
        yield (
            f"resumed with batches of {current['batch_size']} images over all processes, instead "
            f"of {stored['batch_size']}"
        )
    if "accumulation" in changed:
        yield (
            f"resumed with optim_wrapper.accumulative_counts={current['accumulation']}, instead of "
            f"{stored['accumulation']}"
        )
    if "data" in changed:
        yield (
            f"the training data differ from the checkpoint's ({stored.get('samples')} samples "
            f"then, {current['samples']} now): continuing with the data of the config"
        )
    if "length" in changed:
        unit, former = _unit(current), _unit(stored)
        were = stored["length"] if former == unit else f"{stored['length']} {former}"
        yield f"resumed for {current['length']} {unit} in total, instead of {were}"
        yield from _rate_after(runner, current)
    done = runner.iter if current["iterations"] is None else runner.epoch
    if stored and done >= (current["length"] or done + 1):
        yield (
            f"nothing is left to train: {done} of {current['length']} are done. To train longer, "
            "increase train_cfg.max_epochs or max_iters"
        )


def _unit(settings: dict) -> str:
    return "iterations" if settings.get("iterations") is None else "epochs"


def _rate_after(runner: Runner, current: dict) -> Iterator[str]:
    """Report a schedule that ends before training does."""
    schedulers = runner.param_schedulers
    if not isinstance(schedulers, list) or not schedulers:
        return
    per_epoch = current["iterations"]
    last = runner.max_iters if per_epoch is None else current["length"] * per_epoch
    ends = [each.end * (per_epoch or 1) if each.by_epoch else each.end for each in schedulers]
    if max(ends) < last:
        end = max(ends) // (per_epoch or 1)
        yield (
            f"param_scheduler ends at {end} of {current['length']}, after which the learning rate "
            f"stays constant; to extend the schedule, set param_scheduler.{ends.index(max(ends))}"
            f".end={current['length']}"
        )


def _names(runner: Runner) -> dict[str, Hook]:
    found: dict[str, Hook] = {}
    for hook in runner.hooks:
        name = type(hook).__name__
        found[name if name not in found else f"{name}.{len(found)}"] = hook
    return found


def _hook_states(runner: Runner) -> dict[str, Any]:
    states = {}
    for name, hook in _names(runner).items():
        fields = next((each for kind, each in HOOK_STATE.items() if isinstance(hook, kind)), ())
        if callable(getattr(hook, "state_dict", None)):
            states[name] = hook.state_dict()
        elif fields:
            states[name] = {field: getattr(hook, field) for field in fields}
    return states


def _restore_hooks(runner: Runner, states: dict[str, Any]) -> None:
    for name, hook in _names(runner).items():
        state = states.get(name)
        if not isinstance(state, dict):
            continue
        if callable(getattr(hook, "load_state_dict", None)):
            hook.load_state_dict(state)
            continue
        for kind, fields in HOOK_STATE.items():
            if isinstance(hook, kind):
                for field in fields:
                    if isinstance(state.get(field), (int, float)):
                        setattr(hook, field, state[field])
