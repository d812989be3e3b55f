"""Checkpoint reading without code execution, and atomic checkpoint writing."""

from smallvit.compat import moved
from smallvit.engine.checkpoint.reading import load_from_local, require_checkpoint

__all__ = ["load_from_local", "require_checkpoint"]

__getattr__ = moved.forward(__name__)
