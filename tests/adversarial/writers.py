"""All writers of files that are needed later, as functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adversarial import data_writers
from tool_helpers import load_tool

WEIGHTS = {str(number): {"w": torch.arange(100.0) + number} for number in range(3)}


@dataclass
class Writer:
    """A function that writes a file or folder.

    Attributes:
        write (Callable): Called with a folder and a number, 0 or 1, that determines the content.
        read (Callable): Called with the folder; returns the number that was written, or None if
            there is nothing. Raises if the content is damaged.
    """

    write: Callable[[Path, int], Any]
    read: Callable[[Path], int | None]


def weights_in(name: str) -> Callable[[Path], int | None]:
    """Return a function that reads the number from a checkpoint."""

    def read(folder: Path) -> int | None:
        from smallvit.engine.checkpoint import load_from_local

        if not (folder / name).exists():
            return None
        found = load_from_local(folder / name, "cpu")["state_dict"]["w"]
        number = int(found[0])
        assert torch.equal(found, WEIGHTS[str(number)]["w"])
        return number

    return read


def json_in(name: str) -> Callable[[Path], int | None]:
    """Return a function that reads the number from a JSON file."""

    def read(folder: Path) -> int | None:
        path = folder / name
        return json.loads(path.read_text())["number"] if path.exists() else None

    return read


def checkpoint(folder: Path, number: int) -> None:
    from smallvit.plugins.multi_exit.storage import write_checkpoint

    write_checkpoint({"state_dict": WEIGHTS[str(number)]}, folder / "a.pth")


def safetensors(folder: Path, number: int) -> None:
    from smallvit.engine.checkpoint.formats import write_safetensors

    write_safetensors(str(folder / "a.safetensors"), WEIGHTS[str(number)])


def converted(ending: str) -> Callable[[Path, int], None]:
    def write(folder: Path, number: int) -> None:
        tool = load_tool("model_converters/convert.py")
        tool.write({"state_dict": WEIGHTS[str(number)]}, folder / f"a{ending}")

    return write


def whole(folder: Path, number: int) -> None:
    from smallvit.utils.files import write_whole

    write_whole(folder / "a.json", json.dumps({"number": number, "more": ["x"] * 9}))


def store(folder: Path, number: int) -> None:
    from smallvit.plugins.locality_guidance.store_header import StoreHeader
    from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter

    header = StoreHeader({"length": 4}, {"sha256": "0" * 64}, [[1, 2, 2]], "float32")
    again = (folder / "store").exists()
    writer = FeatureStoreWriter(folder / "store", header, np.arange(4), chunk=2, fresh=again)
    while writer.finished < header.rows:
        count = min(2, header.rows - writer.finished)
        writer.append([np.full((count, 1, 2, 2), number, "float32")])
    writer.close()


def stored(folder: Path) -> int | None:
    from smallvit.plugins.locality_guidance.store import FeatureStore

    if not (folder / "store").exists():
        return None
    found = FeatureStore(folder / "store")
    (number,) = {float(value) for row in range(4) for value in found.read(row, row)[0].flat}
    return int(number)


def metrics(folder: Path, number: int) -> None:
    from smallvit.cli.testing import dump_metrics

    dump_metrics({"number": number}, str(folder / "metrics.json"))


def training(folder: Path, number: int) -> None:
    """A run that starts, or resumes from its checkpoints."""
    from toy_runs import toy_config, toy_train

    toy_train(toy_config(folder / "run", epochs=number + 1), resume=number == 1)


def trained(folder: Path) -> int | None:
    """Return the last epoch of a run, and check that all files are complete."""
    from smallvit.engine.checkpoint import load_from_local
    from smallvit.engine.checkpoint.newest import newest_whole_checkpoint

    for path in (folder / "run").glob("*.pth"):
        load_from_local(path, "cpu")
    for path in (folder / "run").glob("run*.json"):
        json.loads(path.read_text())
    newest = newest_whole_checkpoint(str(folder / "run"))
    return None if newest is None else load_from_local(newest, "cpu")["meta"]["epoch"] - 1


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights at the end of a run."""
    from smallvit.engine.checkpoint import load_from_local

    return load_from_local(folder / "run" / "epoch_2.pth", "cpu")["state_dict"]


#: By name. Each writes content 0, then replaces it with content 1.
WRITERS = {
    "write_whole": Writer(whole, json_in("a.json")),
    "write_checkpoint": Writer(checkpoint, weights_in("a.pth")),
    "safetensors": Writer(safetensors, weights_in("a.safetensors")),
    "convert.py": Writer(converted(".pth"), weights_in("a.pth")),
    "convert.py to safetensors": Writer(converted(".safetensors"), weights_in("a.safetensors")),
    "metrics": Writer(metrics, json_in("metrics.json")),
    "store": Writer(store, stored),
    "LMDB": Writer(data_writers.images, data_writers.images_in),
    "bench": Writer(data_writers.bench, data_writers.benched),
    "download": Writer(data_writers.download, data_writers.downloaded),
    "training": Writer(training, trained),
}
