"""What lets the MM libraries run on today's Python, torch and setuptools.

Nothing here changes a library that works: the bridge for mmcv's compiled ops is
only reached when ``mmcv._ext`` is not installed, the config look-up only replaced
when ``pkg_resources`` is gone.
"""


def install() -> None:
    """Install every bridge. Cheap, and safe to call more than once."""
    from smallvit.compat import config_lookup, mmcv_ext

    config_lookup.install()
    mmcv_ext.install()
