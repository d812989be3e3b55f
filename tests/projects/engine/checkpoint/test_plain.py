import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer, MessageHub

from smallvit.engine.checkpoint.plain import to_plain
from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.engine.hooks.plain_checkpoint import PlainCheckpointHook
from smallvit.errors import CheckpointError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(plain)
def test_plain_values_are_kept(value):
    assert to_plain(value) == value


def test_numpy_becomes_plain():
    value = {"a": np.float64(0.5), "b": (np.int64(2), np.array(["x"])), "c": np.arange(3)}
    found = to_plain(value)
    assert type(found["a"]) is float
    assert found["b"] == (2, ["x"])
    assert torch.equal(found["c"], torch.arange(3))


def test_objects_are_refused():
    with pytest.raises(TypeError, match="got Generator"):
        to_plain({"random": [np.random.default_rng()]})


def test_message_hub_survives(tmp_path):
    hub = MessageHub("checkpoint_test")
    for value in (1.0, 0.5, float("nan")):
        hub.update_scalar("train/loss", value, count=2)
    hub.update_info("best_score", np.float32(0.25))
    checkpoint = {"state_dict": {"w": torch.ones(2)}, "message_hub": hub.state_dict()}
    hook = PlainCheckpointHook()
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / "c.pth")

    loaded = load_from_local(str(tmp_path / "c.pth"), "cpu")
    hook.after_load_checkpoint(None, loaded)
    restored = MessageHub("checkpoint_test_restored")
    restored.load_state_dict(loaded["message_hub"])
    history = restored.get_scalar("train/loss")
    assert isinstance(history, HistoryBuffer)
    for ours, theirs in zip(history.data, hub.get_scalar("train/loss").data, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    history.update(0.1)  # a restored history can be appended to
    assert history.current() == 0.1
    assert restored.get_info("best_score") == 0.25


def test_a_checkpoint_without_histories_passes():
    checkpoint = {"state_dict": {}}
    PlainCheckpointHook().after_load_checkpoint(None, checkpoint)
    assert checkpoint == {"state_dict": {}}


class Hostile:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_code_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": Hostile()}, "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth: contains \w*\.?open, not only tensors"):
        load_from_local("bad.pth")
    assert not (tmp_path / "executed").exists()


def test_damaged_files_are_named(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1000)}}, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    for size in (0, 10, 500, len(content) // 2, len(content) - 1):
        (tmp_path / "part.pth").write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=r"part\.pth: damaged"):
            load_from_local(str(tmp_path / "part.pth"))
