"""Patches of other libraries. Official extension points, such as registries and loaders for a URL
scheme, are used where they are needed instead.

On import of smallvit: ``config_lookup``, ``hub``, ``mmcv_ext`` and ``multimodal``, which make the
MM libraries work with current versions of Python, torch, setuptools and transformers (the bridge
for mmcv's compiled ops is used only if ``mmcv._ext`` is not installed), ``folder_configs`` for our
configs, and ``moved``, which forwards our old module paths. Only in a run of smallvit:
``channels``, ``drawn_texts``, ``label_maps`` and ``model_zoos``, by
:mod:`smallvit.engine.install`, and ``strict_loading`` by its runner.
"""


def install() -> None:
    """Install all patches. Cheap, and safe to call more than once."""
    from smallvit.compat import config_lookup, hub, mmcv_ext, moved, multimodal

    config_lookup.install()
    hub.install()
    mmcv_ext.install()
    multimodal.install()
    moved.install()
