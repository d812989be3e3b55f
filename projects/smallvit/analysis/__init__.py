"""Measuring: FLOPs, sizes, timing, logs and pictures."""
