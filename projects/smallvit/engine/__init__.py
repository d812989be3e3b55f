"""How a run is carried out: precision, distribution, checkpoints, guards, measurements."""

from smallvit.engine.atomic import AtomicCheckpointHook
from smallvit.engine.bad_samples import BadSampleHook
from smallvit.engine.checkpoint import PlainCheckpointHook
from smallvit.engine.data_share import DataShareHook
from smallvit.engine.distributed import CPUDistributedDataParallel
from smallvit.engine.errors import (
    BadSamplesError,
    CheckpointError,
    DataShareError,
    LabelError,
    NonFiniteError,
)
from smallvit.engine.exact_rois import ExactRoIHook
from smallvit.engine.non_finite import NonFiniteHook
from smallvit.engine.precision import AutocastOptimWrapper
from smallvit.engine.resume import ResumeHook
from smallvit.engine.run_record import RunRecordHook

__all__ = [
    "AtomicCheckpointHook",
    "AutocastOptimWrapper",
    "BadSampleHook",
    "BadSamplesError",
    "CPUDistributedDataParallel",
    "CheckpointError",
    "DataShareError",
    "DataShareHook",
    "ExactRoIHook",
    "LabelError",
    "NonFiniteError",
    "NonFiniteHook",
    "PlainCheckpointHook",
    "ResumeHook",
    "RunRecordHook",
]
