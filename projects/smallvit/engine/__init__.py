"""Components that carry out a run: precision, distribution, checkpoints, hooks."""

from smallvit.compat import moved
from smallvit.engine import hooks
from smallvit.engine.class_recall import ClassRecall
from smallvit.engine.distributed import CPUDistributedDataParallel
from smallvit.engine.hooks import *  # noqa: F403 each hook is named there
from smallvit.engine.label_thresholds import LabelThresholds
from smallvit.engine.parameter_groups import MergedGroupsConstructor
from smallvit.engine.precision import AutocastOptimWrapper

__all__ = [
    "AutocastOptimWrapper",
    "CPUDistributedDataParallel",
    "ClassRecall",
    "LabelThresholds",
    "MergedGroupsConstructor",
    *hooks.__all__,
]

__getattr__ = moved.forward(__name__)
