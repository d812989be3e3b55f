"""Self-supervised pretraining for any supported backbone."""

from smallvit.plugins.self_supervision.instances import InstanceDiscrimination
from smallvit.plugins.self_supervision.masked_backbone import MaskedForward, build_masked_backbone
from smallvit.plugins.self_supervision.monitor import PretrainingMonitor
from smallvit.plugins.self_supervision.preprocessor import SelfSupDataPreprocessor
from smallvit.plugins.self_supervision.views import PrototypeNeck, ViewPrediction

__all__ = [
    "InstanceDiscrimination",
    "MaskedForward",
    "PretrainingMonitor",
    "PrototypeNeck",
    "SelfSupDataPreprocessor",
    "ViewPrediction",
    "build_masked_backbone",
]
