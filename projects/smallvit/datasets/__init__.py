"""Data sets and transforms that MMPretrain does not have."""

from smallvit.datasets.digits import Digits
from smallvit.datasets.tiny_imagenet import TinyImageNet

__all__ = ["Digits", "TinyImageNet"]
