"""What lets the MM libraries run on today's Python, torch and setuptools.

The bridge for mmcv's compiled ops is only reached where ``mmcv._ext`` is not installed.
``moved`` forwards module paths of our own that have moved.
"""


def install() -> None:
    """Install every bridge. Cheap, and safe to call more than once."""
    from smallvit.compat import config_lookup, mmcv_ext, moved

    config_lookup.install()
    mmcv_ext.install()
    moved.install()
