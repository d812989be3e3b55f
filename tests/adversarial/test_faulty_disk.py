"""Every writer on a disk that fails at each operation.

Afterwards, either the old or the new file is complete, the error is one of ours, and another
attempt succeeds despite leftover files.
"""

import shutil

import pytest

from adversarial.faulty_disk import FAULTS, FaultyDisk
from adversarial.writers import WRITERS
from smallvit.errors import SmallvitError
from smallvit.explain import explain

#: Writers for which only some operations fail by default.
SLOW = {"training": 23, "bench": 3}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders with the first content of each writer, and the operations of the second write."""
    found = {}

    def make(name):
        if name not in found:
            folder = tmp_path_factory.mktemp("written") / "a"
            folder.mkdir()
            WRITERS[name].write(folder, 0)
            found[name] = folder, count(name, folder)
        return found[name]

    return make


def count(name, folder):
    copy = folder.with_name("counted")
    shutil.copytree(folder, copy, symlinks=True)
    with FaultyDisk(copy) as disk:
        WRITERS[name].write(copy, 1)
    assert WRITERS[name].read(copy) == 1
    return len(disk.calls)


def check(writer, folder, fault, at, for_good):
    """Fail one operation; returns a description of the problem, or None."""
    with FaultyDisk(folder, fault, at, for_good) as disk:
        try:
            writer.write(folder, 1)
        except (OSError, SmallvitError) as error:
            said = explain(error)
        else:
            said = "nothing"
    asked = disk.calls[at - 1]
    if said is None:
        return f"{asked}: no sentence"
    if (found := writer.read(folder)) not in (0, 1):
        return f"{asked}: what is there is {found}"
    writer.write(folder, 1)
    if (found := writer.read(folder)) != 1:
        return f"{asked}: the next try wrote {found}"
    left = [path.name for path in folder.rglob("*incomplete*")]
    return f"{asked}: left {left}" if left else None


def try_all(written, tmp_path, name, fault, step=1, for_good=False):
    folder, calls = written(name)
    assert calls > 2
    found = []
    for at in range(1, calls + 1, step):
        copy = tmp_path / str(at)
        shutil.copytree(folder, copy, symlinks=True)
        found.append(check(WRITERS[name], copy, fault, at, for_good))
    assert [each for each in found if each] == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [(name, fault) for name in WRITERS for fault in FAULTS if name not in SLOW or fault == "short"],
)
def test_one_failure(written, tmp_path, name, fault):
    try_all(written, tmp_path, name, fault, step=SLOW.get(name, 1))


@pytest.mark.exhaustive
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WRITERS)
def test_every_failure(written, tmp_path, name, fault, for_good):
    if for_good and name == "store":
        pytest.skip("the previous store remains under its temporary name")
    try_all(written, tmp_path, name, fault, for_good=for_good)
