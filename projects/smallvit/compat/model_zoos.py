"""Checkpoints from model zoos, such as ``torchvision://`` and ``open-mmlab://``.

MMEngine registers a loader for each scheme, but those of the zoos call its own
``load_from_http`` by name, so that a replaced loader for ``https://`` is passed by. To be
left out where MMEngine's zoo loaders go through ``CheckpointLoader`` (0.10.7 does not).
"""

from __future__ import annotations

from collections.abc import Callable


def install(load_from_http: Callable[..., dict]) -> None:
    """Let the loaders of model zoos download with a function.

    Args:
        load_from_http (Callable): With the signature of MMEngine's.
    """
    import mmengine.runner.checkpoint

    mmengine.runner.checkpoint.load_from_http = load_from_http
