"""Techniques that attach to any supported backbone, one package each."""
