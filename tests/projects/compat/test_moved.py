"""Deprecated import paths: every module path and public name of version 0.1 can be imported."""

import importlib
import json
import sys
import warnings
from pathlib import Path

import pytest

import fresh
from smallvit.compat.moved import MOVED, RENAMED

NAMES = json.loads((Path(__file__).parents[2] / "data" / "public_names_0.1.json").read_text())
# torchvision_ops implements mmcv._ext and is loaded under that name.
NAMES.pop("smallvit.compat.torchvision_ops")


@pytest.mark.parametrize("module", NAMES)
def test_public_names_of_0_1_import(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = importlib.import_module(module)
        missing = [name for name in NAMES[module].split() if not hasattr(found, name)]
    assert missing == []


@pytest.mark.parametrize("module", sorted(set(MOVED) & set(NAMES)))
def test_moved_names_warn_and_are_the_new_ones(module):
    found = importlib.import_module(module)
    own = vars(found)
    moved = [name for name in NAMES[module].split() if name not in own]
    for name in moved:
        with pytest.warns(DeprecationWarning, match=f"{module}.{name} was renamed to "):
            value = getattr(found, name)
        places = [(place, name) for place in _places(module)]
        if f"{module}.{name}" in RENAMED:
            place, _, new = RENAMED[f"{module}.{name}"].rpartition(".")
            places = [(place, new)]
        assert any(value is vars(sys.modules[place]).get(new) for place, new in places)


def _places(module):
    return [Path(p).stem if p.endswith(".py") else p for p in MOVED[module]]


def test_old_paths_work_in_a_fresh_process_and_unknown_names_do_not():
    code = (
        "import warnings; warnings.simplefilter('error', ImportWarning)\n"
        "import smallvit\n"
        "from smallvit.cli.bench.plan import Run\n"
        "from smallvit.engine import images\n"
        "from smallvit.engine.checkpoint import CheckpointError, to_plain\n"
        "import smallvit.cli.runs\n"
        "assert callable(smallvit.cli.runs.prepare) and callable(images.install)\n"
        "try:\n"
        "    images.no_such_name\n"
        "except AttributeError as error:\n"
        "    print(error)\n"
    )
    done = fresh.run(code)
    assert done.returncode == 0, done.stderr
    assert "module 'smallvit.engine.images' has no attribute 'no_such_name'" in done.stdout
