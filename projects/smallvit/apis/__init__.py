"""smallvit from Python, as ``mmpretrain.apis`` and ``mmdet.apis`` are for theirs."""

from smallvit.engine.models import load_model

__all__ = ["load_model"]
