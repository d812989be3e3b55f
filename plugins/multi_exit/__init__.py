"""Cascades of vision transformers with early exit: train, calibrate, serve."""

from smallvit.compat.moved import forward
from smallvit.plugins.multi_exit.calibration import (
    AccuracyCostCurve,
    Calibration,
    CalibrationError,
    calibrate,
)
from smallvit.plugins.multi_exit.dynamic_vit import DynamicViT, ExitState
from smallvit.plugins.multi_exit.head import MultiExitHead
from smallvit.plugins.multi_exit.hook import CalibrationHook
from smallvit.plugins.multi_exit.metrics import AnytimeAccuracy, BudgetedBatch
from smallvit.plugins.multi_exit.policies import ExitPolicy, Margin, MaxSoftmax, NegativeEntropy
from smallvit.plugins.multi_exit.reuse import FeatureReuse, RelationReuse, resize_matrix
from smallvit.registry import MODELS

__all__ = [
    "AccuracyCostCurve",
    "AnytimeAccuracy",
    "BudgetedBatch",
    "Calibration",
    "CalibrationError",
    "CalibrationHook",
    "DynamicViT",
    "ExitPolicy",
    "ExitState",
    "FeatureReuse",
    "Margin",
    "MaxSoftmax",
    "MultiExitHead",
    "NegativeEntropy",
    "RelationReuse",
    "calibrate",
    "resize_matrix",
]

__getattr__ = forward(__name__)


@MODELS.register_module(name="MultiExitClassifier")
def build_classifier(**cfg):
    """Build a :class:`smallvit.plugins.multi_exit.classifier.MultiExitClassifier`.

    The class is imported lazily because it depends on MMPretrain, whose import takes many seconds
    that detectors do not need.

    Args:
        **cfg: Arguments of the class.

    Returns:
        MultiExitClassifier: New classifier.
    """
    from smallvit.plugins.multi_exit.classifier import MultiExitClassifier

    return MultiExitClassifier(**cfg)
