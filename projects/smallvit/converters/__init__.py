"""Official checkpoints to ours and back, one key map for each system."""

from .conversion import ConversionError, convert, identify, official_models, revert, unwrap
from .keymap import Computed, KeyMap, Rule, concat, split
from .system import OfficialModel, System, get_system

__all__ = [
    "Computed",
    "ConversionError",
    "KeyMap",
    "OfficialModel",
    "Rule",
    "System",
    "concat",
    "convert",
    "get_system",
    "identify",
    "official_models",
    "revert",
    "split",
    "unwrap",
]
