"""Measurements: FLOPs, sizes, timing, logs, curves and visualization."""
