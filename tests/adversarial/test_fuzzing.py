"""Fuzzing: well-formed files with arbitrary content either load or raise one of our errors in time.

Every run uses the same examples; ``--hypothesis-profile=explore`` searches for others.
"""

import contextlib
import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adversarial.bounds import bounded
from adversarial.entrances import automatic, mmengine_loads, pretrained
from adversarial.workshop import Workshop
from adversarial.wrong_values import PLACES, put
from data_builders import coco_dataset, write_coco
from smallvit.errors import SmallvitError

SECONDS = 60
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=8),
)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
TENSORS = st.builds(
    torch.zeros,
    st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from([torch.float32, torch.int64, torch.bool, torch.complex64, torch.uint8]),
)
VALUES = st.one_of(JSON, TENSORS, st.binary(max_size=8), st.tuples(PLAIN, JSON))
EDITS = st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("room")


def only_sentences(call, *args):
    """Call a function that may raise one of our errors, with a time limit."""
    with contextlib.suppress(SmallvitError), bounded(SECONDS):
        call(*args)


def enter_edited(shop, rooms, enter, content, edits):
    for place, value in edits:
        content = put(content, place, value)
    room = rooms()
    torch.save(content, room / "fuzzed.pth")
    (room / "work").mkdir()
    only_sentences(enter, shop, room / "fuzzed.pth", room / "work")


@pytest.mark.parametrize("enter", [pretrained, mmengine_loads])
@settings(max_examples=20)
@given(edits=EDITS)
def test_weights(shop, rooms, enter, edits):
    enter_edited(shop, rooms, enter, shop.trained, edits)


def read_thresholds(shop, path, work):
    from smallvit.plugins.multi_exit.storage import read_calibration, read_checkpoint

    read_calibration(read_checkpoint(path))


@settings(max_examples=40)
@given(edits=EDITS)
def test_calibrations(shop, rooms, edits):
    enter_edited(shop, rooms, read_thresholds, shop.calibrated, edits)


@settings(max_examples=10)
@given(edits=EDITS)
def test_resumed_checkpoints(shop, rooms, edits):
    enter_edited(shop, rooms, automatic, shop.trained, edits)


@st.composite
def edited_json(draw, content):
    """JSON with a few values changed or removed at any depth."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        node = content
        while isinstance(node, (dict, list)) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = draw(st.sampled_from(list(keys)))
            inner = node[key]
            if not isinstance(inner, (dict, list)) or not inner or draw(st.integers(0, 2)) == 0:
                if draw(st.booleans()):
                    node[key] = draw(JSON)
                else:
                    del node[key]
                break
            node = inner
    return content


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    content = json.loads(write_coco(folder).read_text())
    # Import everything here, so that it does not count towards the time of the first example.
    read_coco(folder, content)
    return folder, content


def read_coco(folder, content):
    """Describe and check a file, and load its samples if no error was found."""
    from smallvit.datasets.coco_checks import check_annotations
    from smallvit.datasets.describe import describe

    (folder / "train.json").write_text(json.dumps(content))
    dataset = coco_dataset(folder)
    (usage,) = describe(dataset, "train")
    list(check_annotations(dataset))
    if not usage.faults:
        for index in range(len(dataset)):
            dataset.get_data_info(index)


@settings(max_examples=60)
@given(data=st.data())
def test_coco_files(annotations, data):
    folder, whole = annotations
    content = data.draw(edited_json(whole))
    only_sentences(read_coco, folder, content)


RECORD = {
    "id": "0" * 32,
    "status": "running",
    "sessions": [{"command": ["train.py"], "started": "2026-01-01", "seconds": 1.0}],
    "best": {"toy/score": 1.0},
    "wall_seconds": 1.0,
    "data": {"train": {"fingerprint": "a"}},
    "config": {"model": {"type": "ToyModel"}},
}


def go_on_with(shop, room, text):
    work = room / "work"
    (work / "run.json").write_text(text)
    torch.save(put(shop.trained, "meta.run_id", RECORD["id"]), room / "a.pth")
    automatic(shop, room / "a.pth", work)


@settings(max_examples=8)
@given(content=edited_json(RECORD), cut=st.integers(1, 400))
def test_run_records(shop, rooms, content, cut):
    room = rooms()
    (room / "work").mkdir()
    text = json.dumps(content)
    go_on_with(shop, room, text[:cut] if cut < 100 else text)
