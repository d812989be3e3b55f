"""High-level Python API: load, predict, export and publish models."""

from smallvit.apis.cascades import CascadeRunner
from smallvit.apis.exporting import Wish, export
from smallvit.apis.predictor import Predictor
from smallvit.apis.publishing import from_pretrained, publish, push_to_hub
from smallvit.apis.zoo import get_model, list_models
from smallvit.engine.models import load_model
from smallvit.engine.trained_models import load_trained

__all__ = [
    "CascadeRunner",
    "Predictor",
    "Wish",
    "export",
    "from_pretrained",
    "get_model",
    "list_models",
    "load_model",
    "load_trained",
    "publish",
    "push_to_hub",
]
