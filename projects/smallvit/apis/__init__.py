"""smallvit from Python, as ``mmpretrain.apis`` and ``mmdet.apis`` are for theirs."""

from smallvit.apis.zoo import get_model, list_models
from smallvit.engine.models import load_model

__all__ = ["get_model", "list_models", "load_model"]
