"""smallvit from Python, as ``mmpretrain.apis`` and ``mmdet.apis`` are for theirs."""

from smallvit.apis.predictor import Predictor
from smallvit.apis.zoo import get_model, list_models
from smallvit.engine.models import load_model
from smallvit.engine.trained_models import load_trained

__all__ = ["Predictor", "get_model", "list_models", "load_model", "load_trained"]
