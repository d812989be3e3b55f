"""Patches of other libraries.

They are used only where a library has no official extension point, such as a registry or a loader
for a URL scheme.

Importing smallvit installs ``config_lookup``, ``hub``, ``mmcv_ext`` and ``multimodal``, which make
the MM libraries work with current versions of Python, torch, setuptools and transformers (the
bridge for mmcv's compiled ops is used only if ``mmcv._ext`` is not installed), ``folder_configs``
for our configs, and ``moved``, which forwards old module paths. The others apply to runs of
smallvit only: :mod:`smallvit.engine.install` installs ``channels``, ``drawn_texts``,
``label_maps`` and ``model_zoos``, and the runner installs ``strict_loading``.
"""


def install() -> None:
    """Install all patches. Cheap, and safe to call more than once."""
    from smallvit.compat import config_lookup, hub, mmcv_ext, moved, multimodal

    config_lookup.install()
    hub.install()
    mmcv_ext.install()
    multimodal.install()
    moved.install()
