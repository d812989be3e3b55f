"""smallvit: vision transformers for small data, as OpenMMLab 2.x components.

Importing this package is all that a foreign project needs: it makes the
``smallvit`` scope known to MMEngine, installs the bridge that lets mmdet and
mmseg run without mmcv's compiled ops, and lets configs with ``fit_to_folder`` follow
their folder in every runner. It imports neither torch nor any of the MM
libraries' models: components are loaded when a config first names one.
"""

from typing import Any

from smallvit.compat import folder_configs, install, model_index, progress_bars

__version__ = "0.1.0"

install()
folder_configs.install(fit="smallvit.engine.folder:follow_folder")
model_index.install()
progress_bars.install()


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for."""
    if name in ("get_model", "list_models"):
        from smallvit import apis

        return getattr(apis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
