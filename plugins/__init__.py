"""Techniques that attach to any backbone; each is a package of its own."""
