"""Data sets and transforms that MMPretrain does not have."""

from smallvit.datasets.digits import Digits

__all__ = ["Digits"]
