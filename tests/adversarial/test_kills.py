"""Every writer, killed at each disk operation, including within checkpoints.

Afterwards, either the old or the new content is complete, and the same command continues from it; a
training run reaches bit-exact weights.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sys

import pytest
import torch

from adversarial.faulty_disk import FaultyDisk
from adversarial.writers import WRITERS, final_weights
from forked import PATIENCE

#: Number of kills per writer by default.
FEW = {"training": 2}
_context = multiprocessing.get_context("fork")


def write_until(writer, folder, at):
    """Write in a child process that is killed at an operation; returns its exit status."""

    def child():
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # the process ends with it
        with FaultyDisk(folder, "kill", at):
            writer.write(folder, 1)
        os._exit(0)

    process = _context.Process(target=child)
    process.start()
    process.join(PATIENCE)
    return process.exitcode


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """For each writer: folders with the first and the second content, and the operations."""
    found = {}

    def make(name):
        if name not in found:
            first = tmp_path_factory.mktemp("killed") / "a"
            first.mkdir()
            WRITERS[name].write(first, 0)
            second = first.with_name("b")
            shutil.copytree(first, second, symlinks=True)
            with FaultyDisk(second) as disk:
                WRITERS[name].write(second, 1)
            found[name] = first, second, len(disk.calls)
        return found[name]

    return make


def survives(name, first, second, folder, at):
    """Kill once; returns a description of the problem, or None."""
    writer = WRITERS[name]
    shutil.copytree(first, folder, symlinks=True)
    if write_until(writer, folder, at) != -signal.SIGKILL:
        return f"call {at}: it was not killed"
    if (found := writer.read(folder)) not in (0, 1):
        return f"call {at}: what is there is {found}"
    writer.write(folder, 1)
    if (found := writer.read(folder)) != 1:
        return f"call {at}: going on led to {found}"
    if name == "training":
        kept, meant = final_weights(folder), final_weights(second)
        if any(not torch.equal(kept[key], meant[key]) for key in meant):
            return f"call {at}: other weights"
    return None


def kill_at(written, tmp_path, name, places):
    first, second, calls = written(name)
    chosen = range(1, calls + 1) if places is None else places(calls)
    found = [survives(name, first, second, tmp_path / str(at), at) for at in chosen]
    assert [each for each in found if each] == []


@pytest.mark.parametrize("name", WRITERS)
def test_kills(written, tmp_path, name):
    few = FEW.get(name, 6)
    kill_at(
        written,
        tmp_path,
        name,
        lambda calls: random.Random(0).sample(range(1, calls + 1), min(few, calls)),
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", WRITERS)
def test_all_kills(written, tmp_path, name):
    kill_at(written, tmp_path, name, None)
