"""Finder for the module ``mmcv._ext`` where mmcv was installed without compiled ops."""


def install() -> None:
    """Make ``mmcv._ext`` importable (being written)."""
