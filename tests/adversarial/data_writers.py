"""Functions that write image stores, bench results and downloads."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unittest import mock

import torch

from adversarial.data_entrances import DATA, RESULT, going_on
from tool_helpers import load_tool, write_pictures

ADDRESS = "https://models.example/a.pth"


def images(folder: Path, number: int) -> None:
    """Write the images, then convert them to a store."""
    from smallvit.datasets import lmdb_writer

    if number == 0:
        write_pictures(folder)
        return
    argv = [str(folder / "test"), str(folder / "images.lmdb"), "--workers", "0"]
    with mock.patch.object(lmdb_writer, "TRANSACTION", 1500):
        load_tool("dataset_converters/folder2lmdb.py").main(argv)


def images_in(folder: Path) -> int:
    """Return whether there is a store, and check that it is complete."""
    import lmdb

    if not (store := folder / "images.lmdb").exists():
        return 0
    assert sorted(path.name for path in store.iterdir()) == [
        *("annotations.txt", "classes.txt", "data.mdb")
    ]
    with lmdb.open(str(store), readonly=True, lock=False) as opened, opened.begin() as reading:
        found = {bytes(key).decode(): bytes(value) for key, value in reading.cursor()}
    for path in (folder / "test").rglob("*.png"):
        assert found[str(path.relative_to(folder / "test"))] == path.read_bytes()
    assert len(found) == 12
    return 1


class _Trained:
    """Writes the results of a bench worker without training."""

    def run(self, jobs: list, watcher: object) -> dict:
        from smallvit.bench.results import RESULT as NAME
        from smallvit.bench.scheduler import Outcome
        from smallvit.utils.files import write_whole

        known = {"look": DATA, "measure": {"note": "", "methods": {}}, "train": RESULT}
        outcomes = {job.name: Outcome(known[job.function]) for job in jobs}
        for job in jobs:
            if job.function == "train":
                folder = Path(job.arguments[4])
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(folder / NAME, json.dumps(RESULT))
            watcher.ended(job, outcomes[job.name])
        return outcomes


def bench(folder: Path, number: int) -> None:
    """Run a bench with one seed, then with two."""
    going_on(folder, _Trained(), seeds=number + 1, plots=False)


def benched(folder: Path) -> int | None:
    """Return the number of finished runs minus one, and check that all files are complete."""
    from smallvit.bench.plan_file import read_plan
    from smallvit.bench.results import RESULT as NAME
    from smallvit.bench.results import read_results

    plan = read_plan(str(folder))
    if plan is None:
        return None
    results, _ = read_results(str(folder), plan["runs"])
    assert len(results) == len(list(folder.rglob(NAME)))
    report = folder / "report.html"
    assert not report.exists() or report.read_text().rstrip().endswith("</html>")
    return len(results) - 1 if results else None


class _Answer(io.BytesIO):
    """Response of a server."""

    def __init__(self, number: int) -> None:
        buffer = io.BytesIO()
        torch.save({"state_dict": {"w": torch.arange(100.0) + number}}, buffer)
        super().__init__(buffer.getvalue())
        self.headers = {"Content-Length": str(len(buffer.getvalue()))}

    def geturl(self) -> str:
        return ADDRESS


def download(folder: Path, number: int) -> None:
    """Download a file that has changed on the server."""
    from smallvit.engine.checkpoint import downloads

    (path,) = [*folder.rglob("a.pth")] or [None]
    if path is not None and int(_first(path)) != number:
        downloads.forget(str(path))
    answer = mock.Mock(side_effect=lambda *_, **__: _Answer(number))
    with (
        mock.patch.object(downloads, "urlopen", answer),
        mock.patch.object(downloads, "PAUSES", (0.0, 0.0)),
    ):
        downloads.download(ADDRESS, str(folder), progress=False)


def downloaded(folder: Path) -> int | None:
    """Return the downloaded version, and check that it is complete."""
    (path,) = [*folder.rglob("a.pth")] or [None]
    return None if path is None else int(_first(path))


def _first(path: Path) -> float:
    from smallvit.engine.checkpoint import load_from_local

    return float(load_from_local(path, "cpu")["state_dict"]["w"][0])
