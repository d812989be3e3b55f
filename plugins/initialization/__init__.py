"""Weight initializers for ``init_cfg``."""

from smallvit.plugins.initialization.by_name import ParameterInit
from smallvit.plugins.initialization.final import FinalInit
from smallvit.plugins.initialization.mimetic import MimeticInit
from smallvit.plugins.initialization.pytorch import PyTorchInit
from smallvit.plugins.initialization.structured import StructuredInit

__all__ = ["FinalInit", "MimeticInit", "ParameterInit", "PyTorchInit", "StructuredInit"]
