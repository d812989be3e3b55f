"""Reading MMEngine's histories and NumPy arrays as values, without executing pickled code."""

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from smallvit.engine.checkpoint.mmengine_pickles import stand_ins, to_values


def read(content):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    with stand_ins():
        return to_values(torch.load(file, weights_only=True))


def test_histories_become_plain_values():
    found = read({"loss": HistoryBuffer([1.0, 3.0], [1, 2], max_length=10)})["loss"]
    assert found["log_history"].tolist() == [1.0, 3.0]
    assert found["count_history"].tolist() == [1.0, 2.0]
    assert found["max_length"] == 10


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([1.5, 2.5], dtype=">f4"),
        np.array([True, False]),
        np.array(["a", "bc"]),
    ],
    ids=["integers", "by columns", "other byte order", "booleans", "strings"],
)
def test_arrays_are_restored(array):
    found = read({"x": [array]})["x"][0]
    assert found.shape == array.shape
    assert np.array_equal(found, array)


def test_scalars_and_lists_in_arrays_become_plain():
    found = read({"best": np.float64(0.5), "odd": np.array([[1], "b"], dtype=object)})
    assert found == {"best": 0.5, "odd": [[1], "b"]}
    assert type(found["best"]) is float


def test_a_state_dict_keeps_its_metadata():
    state = OrderedDict(weight=torch.ones(1))
    state._metadata = {"": {"version": 2}}
    assert to_values(state) is state
    assert state._metadata == {"": {"version": 2}}


def test_class_names_are_only_registered_while_reading():
    file = io.BytesIO()
    torch.save({"loss": HistoryBuffer()}, file)
    before = list(torch.serialization.get_safe_globals())
    with stand_ins():
        assert len(torch.serialization.get_safe_globals()) > len(before)
    assert torch.serialization.get_safe_globals() == before
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
