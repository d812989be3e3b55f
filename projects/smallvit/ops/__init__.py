"""Numerics without state: dynamic depth-wise convolutions and their kernels."""
