"""What patches other libraries. What they are made to be extended by, such as registries and
loaders of a scheme, is used where it is needed.

At the import of smallvit: ``config_lookup``, ``hub``, ``mmcv_ext`` and ``multimodal``, which let
the MM libraries run on today's Python, torch, setuptools and transformers (the bridge for mmcv's
compiled ops is only reached where ``mmcv._ext`` is not installed), ``folder_configs`` for configs
of ours, and ``moved``, which forwards module paths of our own. In a run of smallvit alone:
``channels``, ``drawn_texts``, ``label_maps`` and ``model_zoos``, by
:mod:`smallvit.engine.install`, and ``strict_loading`` by its runner.
"""


def install() -> None:
    """Install every bridge. Cheap, and safe to call more than once."""
    from smallvit.compat import config_lookup, hub, mmcv_ext, moved, multimodal

    config_lookup.install()
    hub.install()
    mmcv_ext.install()
    multimodal.install()
    moved.install()
