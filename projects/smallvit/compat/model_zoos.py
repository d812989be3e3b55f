"""Safe loading of checkpoints from model zoos and object stores (``torchvision://``, ``s3://``).

MMEngine registers a loader for each scheme, but the loaders of model zoos call its function
``load_from_http`` directly and bypass a registered replacement for ``https://``. The loaders of
object stores, and of files listed in ``open_mmlab.json``, call ``torch.load`` with its default
arguments, which on torch before 2.6 runs code in the file. Remove this once MMEngine's loaders use
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
    """Make MMEngine's other loaders read downloaded files with the given functions.

    Args:
        load_from_http (Callable): Loader for URLs, with the signature of MMEngine's.
        load_from_local (Callable): Loader for local files, with the signature of MMEngine's.
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
        raise CheckpointError(f"{filename}: download the file manually, and pass its path")

    stock.load_from_http = load_from_http
    for prefixes, loader in (
        (STORES, load_from_store),
        (ZOOS, load_from_openmmlab),
        ("pavi://", load_from_pavi),
    ):
        CheckpointLoader.register_scheme(prefixes=prefixes, loader=loader, force=True)
