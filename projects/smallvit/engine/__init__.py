"""How a run is carried out: precision, distribution, checkpoints, measurements."""

from smallvit.engine.checkpoint import PlainCheckpointHook
from smallvit.engine.distributed import CPUDistributedDataParallel
from smallvit.engine.exact_rois import ExactRoIHook
from smallvit.engine.precision import AutocastOptimWrapper, AutocastTestLoop

__all__ = [
    "AutocastOptimWrapper",
    "AutocastTestLoop",
    "CPUDistributedDataParallel",
    "ExactRoIHook",
    "PlainCheckpointHook",
]
