"""Conversion of official checkpoints in both directions, with one key map per system."""

from .conversion import ConversionError, convert, identify, official_models, revert, unwrap
from .keymap import Computed, KeyMap, Rule, concat, split
from .system import OfficialModel, System, get_system
from .training import TrainingState, averaged_weights, convert_training

__all__ = [
    "Computed",
    "ConversionError",
    "KeyMap",
    "OfficialModel",
    "Rule",
    "System",
    "TrainingState",
    "averaged_weights",
    "concat",
    "convert",
    "convert_training",
    "get_system",
    "identify",
    "official_models",
    "revert",
    "split",
    "unwrap",
]
