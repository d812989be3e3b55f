"""Stateless operators: dynamic depth-wise convolutions and their kernels."""

from smallvit.ops.dynamic_dwconv import dynamic_dwconv2d
from smallvit.ops.inhomogeneous_dwconv import inhomogeneous_dwconv2d

__all__ = ["dynamic_dwconv2d", "inhomogeneous_dwconv2d"]
