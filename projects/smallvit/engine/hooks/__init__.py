"""Training hooks: checkpointing, resuming and checks of the data, the weights and the loss."""

from smallvit.engine.hooks.atomic_checkpoint import AtomicCheckpointHook
from smallvit.engine.hooks.bad_samples import BadSampleHook
from smallvit.engine.hooks.class_recall import ClassRecallHook
from smallvit.engine.hooks.compile import CompileHook
from smallvit.engine.hooks.data_report import DataReportHook
from smallvit.engine.hooks.data_share import DataShareHook
from smallvit.engine.hooks.drawing import ClassifierDrawingHook, DetectorDrawingHook
from smallvit.engine.hooks.ema import ClassifierStepEMAHook, KeptEMAHook, StepEMAHook
from smallvit.engine.hooks.float32_rois import ExactRoIHook, Float32RoIHook
from smallvit.engine.hooks.freeze import FreezeHook
from smallvit.engine.hooks.non_finite import NonFiniteHook
from smallvit.engine.hooks.plain_checkpoint import PlainCheckpointHook
from smallvit.engine.hooks.plain_metrics import PlainMetricsHook
from smallvit.engine.hooks.preemption import PreemptionHook
from smallvit.engine.hooks.resume import ResumeHook
from smallvit.engine.hooks.resumed_settings import ResumedSettingsHook
from smallvit.engine.hooks.run_record import RunRecordHook
from smallvit.engine.hooks.start_weights import StartWeightsHook
from smallvit.engine.hooks.stored_config import StoredConfigHook
from smallvit.engine.hooks.work_folder import WorkFolderHook

__all__ = [
    "AtomicCheckpointHook",
    "BadSampleHook",
    "ClassRecallHook",
    "ClassifierDrawingHook",
    "ClassifierStepEMAHook",
    "CompileHook",
    "DataReportHook",
    "DataShareHook",
    "DetectorDrawingHook",
    "ExactRoIHook",
    "Float32RoIHook",
    "FreezeHook",
    "KeptEMAHook",
    "NonFiniteHook",
    "PlainCheckpointHook",
    "PlainMetricsHook",
    "PreemptionHook",
    "ResumeHook",
    "ResumedSettingsHook",
    "RunRecordHook",
    "StartWeightsHook",
    "StepEMAHook",
    "StoredConfigHook",
    "WorkFolderHook",
]
