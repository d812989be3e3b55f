"""Checkpoints from model zoos and object stores, such as ``torchvision://`` and ``s3://``.

MMEngine registers a loader for each scheme, but those of the zoos call its own
``load_from_http`` by name, so that a replaced loader for ``https://`` is passed by; and those
of stores, and of files that ``open_mmlab.json`` names, call ``torch.load`` as they please, which
runs what a file holds on torch before 2.6. To be left out where MMEngine's loaders go through
``CheckpointLoader`` (0.10.7 does not).
"""

from __future__ import annotations

import os.path as osp
import tempfile
from collections.abc import Callable
from typing import Any

from smallvit.errors import CheckpointError

STORES = (r"(\S+\:)?s3://", r"(\S+\:)?petrel://")
ZOOS = ("open-mmlab://", "openmmlab://")


def install(load_from_http: Callable[..., dict], load_from_local: Callable[..., dict]) -> None:
    """Let MMEngine's other loaders read what they fetch with two functions.

    Args:
        load_from_http (Callable): With the signature of MMEngine's.
        load_from_local (Callable): Likewise.
    """
    import mmengine.runner.checkpoint as stock
    from mmengine.runner import CheckpointLoader

    def load_from_store(filename: str, map_location: Any = None, backend: str = "petrel") -> dict:
        from mmengine.fileio import get_file_backend

        store = get_file_backend(filename, backend_args={"backend": backend})
        with tempfile.TemporaryDirectory() as folder:
            path = osp.join(folder, osp.basename(filename) or "checkpoint")
            with open(path, "wb") as file:
                file.write(store.get(filename))
            return load_from_local(path, map_location)

    def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
        name = filename.partition("://")[2]
        name = stock.get_deprecated_model_names().get(name, name)
        address = stock.get_external_models().get(name)
        if address is None:
            raise CheckpointError(f"{filename}: the model zoo has no {name!r}")
        if "://" in address:
            return load_from_http(address, map_location)
        return load_from_local(osp.join(stock._get_mmengine_home(), address), map_location)

    def load_from_pavi(filename: str, map_location: Any = None) -> dict:
        raise CheckpointError(f"{filename}: fetch the file by other means, and give its path")

    stock.load_from_http = load_from_http
    for prefixes, loader in (
        (STORES, load_from_store),
        (ZOOS, load_from_openmmlab),
        ("pavi://", load_from_pavi),
    ):
        CheckpointLoader.register_scheme(prefixes=prefixes, loader=loader, force=True)
