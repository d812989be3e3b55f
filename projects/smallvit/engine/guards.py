"""The hooks that guard every run, by their keys in ``default_hooks``."""

from __future__ import annotations

from mmengine.config import Config

#: As in ``configs/_base_/guards.py``, which gives them to the configs.
GUARDS = {
    "plain_checkpoint": "smallvit.PlainCheckpointHook",
    "resume": "smallvit.ResumeHook",
    "non_finite": "smallvit.NonFiniteHook",
    "bad_samples": "smallvit.BadSampleHook",
    "data_share": "smallvit.DataShareHook",
    "run_record": "smallvit.RunRecordHook",
}
CHECKPOINT = "smallvit.AtomicCheckpointHook"
_STOCK_CHECKPOINT = "CheckpointHook"


def add_guards(cfg: Config) -> None:
    """Give a config of any MM library the guards that it does not have.

    A guard that the config sets, or switches off (``enabled=False``), stays as it is, and
    so does a checkpoint hook of the user's own.

    Args:
        cfg (Config): The config, changed in place.
    """
    hooks = dict(cfg.get("default_hooks") or {})
    for key, kind in GUARDS.items():
        hooks.setdefault(key, {"type": kind})
    checkpoint = hooks.get("checkpoint", {"interval": 1})
    if checkpoint is not None:
        checkpoint.setdefault("type", _STOCK_CHECKPOINT)
        kind = checkpoint["type"]
        name = kind if isinstance(kind, str) else kind.__name__
        if name.rpartition(".")[2] == _STOCK_CHECKPOINT:
            checkpoint["type"] = CHECKPOINT
        hooks["checkpoint"] = checkpoint
    cfg.default_hooks = hooks
