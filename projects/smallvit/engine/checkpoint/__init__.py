"""Checkpoints: files from outside are read as data, files of ours are written whole."""

from smallvit.compat import moved
from smallvit.engine.checkpoint.reading import load_from_local, require_checkpoint

__all__ = ["load_from_local", "require_checkpoint"]

__getattr__ = moved.forward(__name__)
