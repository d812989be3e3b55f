"""Every entry point with hostile files, damaged files and wrong values.

In each case, no code is executed, no other files are deleted or changed, and the call either
succeeds or raises one of our errors.
"""

import contextlib
import io
import itertools
import sys
from pathlib import Path

import pytest

from adversarial.bounds import bounded
from adversarial.entrances import ENTRANCES
from adversarial.hostile import REFUSED
from adversarial.workshop import Workshop, write_content
from adversarial.wrong_values import MODULE, put, write_traps, wrong_values
from smallvit.errors import SmallvitError
from smallvit.explain import explain

#: One file of each kind; test_reading.py covers all of them with the shared reader.
SOME_FILES = (
    "in the weights, zip",
    "os.system, legacy",
    "nested, protocol 4",
    "40 doublings of a dict",
    "changes how tensors are read",
    "overlapping entries",
    "a flipped bit",
    "cut at 0.5",
    "arrays of objects in an archive",
    "deep JSON",
    "a huge PNG",
)
#: Values that former versions trusted, mostly when resuming.
BELIEVED = [
    ("meta.config", "a program"),
    ("meta.config", "a config to inherit"),
    ("meta.cfg", "a program"),
    ("meta.dataset_meta.classes", "a huge number"),
    ("message_hub.runtime_info.cfg", "a program"),
    ("message_hub.runtime_info.best_ckpt", "a path of somebody"),
    ("message_hub.runtime_info.best_ckpt", "a folder of somebody"),
    ("message_hub.runtime_info.keep_ckpt_ids", "paths of somebody"),
    ("multi_exit.policy", "a class to import"),
    ("multi_exit.policy", "a function to call"),
    ("state_dict", "a class to import"),
]
#: Values that caused a traceback in former versions.
STUMBLED = {
    "train.py --resume FILE": [("param_schedulers", "a function to call")],
    "bench going on, scalars": [("iter", "an empty dict"), ("iter", "a class to import")],
}


#: Timeout in seconds; the first call also imports the MM packages.
PATIENCE = 240
#: Entry points that run a network over a dataset if a value is harmless.
SLOW = ("calibrate.py", "precompute.py", "multi_exit/benchmark.py", "plot.py --images")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("workshop"))


class Room:
    """A folder with other files, traps and an output folder."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.mark = folder, folder / "executed"
        self.work, self.path = folder / "work", folder / "hostile.pth"
        self.work.mkdir(parents=True)
        others = folder / "others"
        (others / "sub").mkdir(parents=True)
        for name in ("best.pth", "epoch_1.pth", "notes.txt", "sub/more.npy"):
            (others / name).write_text(f"somebody's {name}")
        write_traps(folder, self.mark)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.chdir(self.work)
        self.values = wrong_values(folder, self.mark)

    def files(self):
        return {
            path: path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and self.work not in path.parents and path.suffix != ".pyc"
        }

    def enter(self, entrance, shop):
        """Call an entry point with the file.

        Returns the error message, or None on success, and the printed output.
        """
        before = self.files()
        said = self._call(entrance, shop)
        assert not self.mark.exists(), "executed"
        assert MODULE not in sys.modules
        assert self.files() == before
        return said, self.printed.getvalue()

    def _call(self, entrance, shop):
        self.printed = io.StringIO()
        try:
            with bounded(PATIENCE), contextlib.redirect_stdout(self.printed):
                entrance.enter(shop, self.path, self.work)
        except SystemExit as error:
            raise AssertionError("reported as a usage error") from error
        except Exception as error:
            said = explain(error)
            if not isinstance(error, SmallvitError) or len(said) > 3000:
                raise
            return said
        return None


@pytest.fixture
def room(tmp_path, monkeypatch):
    return Room(tmp_path, monkeypatch)


def check_file(room, shop, entrance, file):
    REFUSED[file](room.path, room.mark)
    door = ENTRANCES[entrance]
    said, printed = room.enter(door, shop)
    if not door.reads:
        return
    if door.stops:
        assert said is not None, "accepted"
        assert door.shown in said or "epoch_1.pth" in said
    else:
        assert said is None or "no run has finished" in said
        assert door.shown in printed


def cells_of(entrance):
    """List pairs of a place and a wrong value."""
    places = ENTRANCES[entrance].places
    return [(place, value) for place in places for value in wrong_values(Path(), Path())]


def failures(folder, monkeypatch, shop, entrance, cells):
    """Try wrong values at an entry point, each in its own folder; returns the failures."""
    door, found = ENTRANCES[entrance], []
    for number, (place, value) in enumerate(cells):
        room = Room(folder / str(number), monkeypatch)
        content = put(shop.content(door.valid), place, room.values[value])
        write_content(content, room.path)
        try:
            room.enter(door, shop)
        except Exception as error:
            found.append(f"{place} = {value}: {type(error).__name__}: {str(error)[:300]}")
    return found


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_valid_files_are_accepted(room, shop, entrance):
    """Valid content must be accepted; otherwise the other tests would be meaningless."""
    write_content(shop.content(ENTRANCES[entrance].valid), room.path)
    assert room.enter(ENTRANCES[entrance], shop)[0] is None


def some_files():
    """Assign two files to each entry point in turn."""
    turns = itertools.cycle(SOME_FILES)
    return [(entrance, file) for entrance in ENTRANCES for file in itertools.islice(turns, 2)]


@pytest.mark.parametrize(("entrance", "file"), some_files())
def test_hostile_files(room, shop, entrance, file):
    check_file(room, shop, entrance, file)


@pytest.mark.exhaustive
@pytest.mark.parametrize("file", REFUSED)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_all_hostile_files(room, shop, entrance, file):
    check_file(room, shop, entrance, file)


#: The slowest ones; plot.py and multi_exit/benchmark.py read the same file.
SLOWEST = ("calibrate.py", "plot.py --images")


@pytest.mark.parametrize(
    "entrance",
    [
        pytest.param(name, marks=pytest.mark.exhaustive) if name in SLOWEST else name
        for name, door in ENTRANCES.items()
        if door.places
    ],
)
def test_wrong_values(tmp_path, monkeypatch, shop, entrance):
    kinds = set(ENTRANCES[entrance].places) & {"multi_exit", "state_dict"}
    kinds &= shop.content(ENTRANCES[entrance].valid).keys()
    if kinds and entrance not in SLOW:
        kinds |= {"meta"}
    if entrance in ("train.py --resume FILE", "train.py --resume"):
        kinds |= {"message_hub"}
    cells = [(place, value) for place, value in BELIEVED if place.partition(".")[0] in kinds]
    cells += STUMBLED.get(entrance, [])
    all_cells = cells_of(entrance)
    step = max(len(all_cells) // 4, 1)
    cells += all_cells[list(ENTRANCES).index(entrance) % step :: step]
    assert not failures(tmp_path, monkeypatch, shop, entrance, cells)


@pytest.mark.exhaustive
@pytest.mark.parametrize("entrance", [name for name, door in ENTRANCES.items() if door.places])
def test_all_wrong_values(tmp_path, monkeypatch, shop, entrance):
    assert not failures(tmp_path, monkeypatch, shop, entrance, cells_of(entrance))
