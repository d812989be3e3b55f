"""Backbones, one file an architecture."""
