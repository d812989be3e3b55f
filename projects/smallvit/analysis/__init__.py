"""Measuring: FLOPs, sizes, timing, logs, curves and pictures."""
