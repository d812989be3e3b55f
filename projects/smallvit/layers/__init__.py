"""Blocks that two or more backbones share."""
