"""Config files among the methods of a bench, whose models must not change between two commands."""

from __future__ import annotations

import hashlib
import json
import os.path as osp
import re
from collections.abc import Iterable

from smallvit.bench.methods import Method
from smallvit.bench.results import FAILURE
from smallvit.errors import UserError

SUFFIX = ".py"


def config_digests(methods: Iterable[Method], old: dict | None, out: str) -> dict[str, str]:
    """Hash the models of the config files among the methods.

    Args:
        methods (Iterable[Method]): Requested methods.
        old (dict | None): Plan in the folder, as returned by
            :func:`smallvit.bench.plan_file.read_plan`.
        out (str): Folder of the bench.

    Returns:
        dict[str, str]: Digests by path, those in the old plan included.

    Raises:
        UserError: If a config does not parse, or its model has changed since the bench trained it.
    """
    from smallvit.engine.config_files import read_config

    paths = {method.base for method in methods if method.base.endswith(SUFFIX)}
    known = (old or {}).get("configs") or {}
    found = {path: _digest(read_config(path).get("model") or {}) for path in sorted(paths)}
    for path, digest in found.items():
        if known.get(path, digest) != digest and _is_trained(path, old or {}, out):
            raise UserError(
                f"the model in {path} has changed since {out} was trained with it. Restore it, or "
                "use another --out or another name for the new config"
            )
    return {**known, **found}


def _digest(model: dict) -> str:
    # Functions are printed with an address, which differs in each process.
    text = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(model, default=str))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_trained(path: str, old: dict, out: str) -> bool:
    runs = [run for run in old["runs"] if f"{run.method}+".startswith(f"{path}+")]
    folders = [run.folder(out) for run in runs]
    return any(
        osp.isdir(folder) and not osp.exists(osp.join(folder, FAILURE)) for folder in folders
    )
