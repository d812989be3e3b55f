"""Reading hostile and damaged checkpoints: no code is executed, and errors name the file."""

import json
import os
import pickle
import tarfile
from types import SimpleNamespace

import mmengine.fileio
import mmengine.runner.checkpoint
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import CheckpointLoader

from smallvit.engine.checkpoint import reading
from smallvit.engine.checkpoint.formats import read_safetensors, write_safetensors
from smallvit.engine.checkpoint.reading import load_from_local, trust_checkpoints
from smallvit.engine.hooks.plain_checkpoint import PlainCheckpointHook
from smallvit.errors import CheckpointError


@pytest.fixture
def installed(monkeypatch):
    """Replace MMEngine's loaders for one test."""
    monkeypatch.setattr(CheckpointLoader, "_schemes", dict(CheckpointLoader._schemes))
    stock = mmengine.runner.checkpoint.load_from_http
    monkeypatch.setattr(mmengine.runner.checkpoint, "load_from_http", stock)
    reading.install()


class Call:
    """Pickles as a function call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __call__(self):
        """Make instances callable: pickle only accepts callables as functions."""

    def __reduce__(self):
        return self.call


def test_code_in_a_checkpoint_is_named(tmp_path):
    path = tmp_path / "hostile.pth"
    torch.save({"a": Call(os.system, "true"), "b": Call(eval, "1")}, path)
    with pytest.raises(CheckpointError, match=rf"{os.name}.system, .*builtin.*eval"):
        load_from_local(str(path), "cpu")


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_older_formats_are_named(tmp_path, protocol, trusted):
    """Older formats are rejected as such, not as damaged files, with and without ``trust``."""
    path, packed = tmp_path / "weights.pkl", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol))
    with tarfile.open(packed, "w") as archive:
        archive.add(path, "weights.pkl")
    trust_checkpoints(trusted)
    try:
        with pytest.raises(CheckpointError, match="got a plain pickle"):
            load_from_local(str(path), "cpu")
        with pytest.raises(CheckpointError, match="got a tar file"):
            load_from_local(str(packed), "cpu")
        path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]}, protocol)[:-3])
        with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
            load_from_local(str(path), "cpu")
    finally:
        trust_checkpoints(False)


def test_trust_is_an_option(tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "own.pth"
    torch.save({"state_dict": Call(os.system, f"touch {mark}")}, path)
    trust_checkpoints()
    try:
        load_from_local(str(path), "cpu")
    finally:
        trust_checkpoints(False)
    assert mark.exists()


@pytest.fixture
def mmengine_checkpoint(tmp_path):
    """Write a file as MMEngine does, with histories as objects."""
    hub = MessageHub.get_instance(f"untrusted_{tmp_path.name}")
    for value in (2.0, 1.0):
        hub.update_scalar("train/loss", value)
    hub.update_info("best_score", torch.tensor(0.5).numpy()[()])
    checkpoint = {
        "meta": {"epoch": 1, "iter": 2},
        "state_dict": {"weight": torch.arange(3.0), "half": torch.ones(2, dtype=torch.half)},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []},
        "message_hub": hub.state_dict(),
    }
    path = tmp_path / "mmengine.pth"
    torch.save(checkpoint, path)
    return path, hub


def test_a_checkpoint_of_mmengine_is_read(installed, mmengine_checkpoint):
    path, _ = mmengine_checkpoint
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    found = CheckpointLoader.load_checkpoint(str(path), "cpu")
    assert torch.equal(found["state_dict"]["weight"], torch.arange(3.0))
    assert found["state_dict"]["half"].dtype == torch.half
    PlainCheckpointHook().after_load_checkpoint(None, found)
    restored = MessageHub(f"restored_{path.parent.name}")
    restored.load_state_dict(found["message_hub"])
    history = restored.get_scalar("train/loss")
    history.update(0.0)
    assert history.data[0].tolist() == [2.0, 1.0, 0.0]
    assert history.mean() == 1.0
    assert restored.get_info("best_score") == 0.5


def test_code_beside_mmengines_names_is_refused(mmengine_checkpoint, tmp_path):
    _, hub = mmengine_checkpoint
    mark, path = tmp_path / "executed", tmp_path / "mixed.pth"
    torch.save({"hub": hub.state_dict(), "x": Call(os.system, f"touch {mark}")}, path)
    with pytest.raises(CheckpointError, match=r"mixed.pth: contains .*system"):
        load_from_local(str(path), "cpu")
    assert not mark.exists()


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9, 0.999])
def test_truncated(part, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save({"state_dict": {"w": torch.randn(1000)}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError, match=r"cut.pth: damaged or not a checkpoint"):
        load_from_local(str(path), "cpu")


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x80\x02}q\x00.", b"\x80\x04\x95"])
def test_other_content(content, tmp_path):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        load_from_local(str(path), "cpu")


class TestSafetensors:
    def test_round_trip(self, installed, tmp_path):
        path = str(tmp_path / "w.safetensors")
        shared = torch.randn(3, 4)
        weights = {"a": shared, "b": shared.t(), "c": torch.arange(3)}
        write_safetensors(path, weights, {"epoch": 3, "name": "x"})
        found = CheckpointLoader.load_checkpoint(path, "cpu")
        assert all(torch.equal(found["state_dict"][key], weights[key]) for key in weights)
        assert found["meta"] == {"epoch": "3", "name": "x"}
        assert sorted(os.listdir(tmp_path)) == ["w.safetensors", "w.safetensors.sha256"]

    @pytest.mark.parametrize("length", [1 << 40, 1 << 63, 200, 0])
    def test_header_bomb(self, length, tmp_path):
        path = tmp_path / "bomb.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + b'{"a":1}' + bytes(20))
        with pytest.raises(CheckpointError, match=r"bomb\.safetensors: damaged or not safetensors"):
            read_safetensors(str(path))

    def test_header_beyond_the_data(self, tmp_path):
        header = json.dumps(
            {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
        ).encode()
        path = tmp_path / "liar.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(CheckpointError, match=r"liar\.safetensors"):
            read_safetensors(str(path))

    @pytest.mark.parametrize("size", [0, 4, 20, 100])
    def test_truncated(self, size, tmp_path):
        path = tmp_path / "cut.safetensors"
        write_safetensors(str(path), {"a": torch.ones(100)})
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
            read_safetensors(str(path))


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/teacher.pth",
        "http://example.org/other.pth?x=1",
        "torchvision://resnet18",
        "mmcls://vgg11",
        "open-mmlab://detectron2/resnet50_caffe",
        "s3://bucket/teacher.pth",
        "petrel://bucket/teacher.pth",
        "openmmlab://mine",
        "pavi://x",
    ],
)
def test_downloads_are_read_in_the_same_way(installed, address, tmp_path, monkeypatch):
    mark, path = tmp_path / "executed", tmp_path / "hostile.pth"
    torch.save(Call(os.system, f"touch {mark}"), path)
    (tmp_path / "open_mmlab.json").write_text('{"mine": "hostile.pth"}')
    monkeypatch.setenv("MMENGINE_HOME", str(tmp_path))
    monkeypatch.setattr(reading, "download", lambda *_: str(path))
    store = SimpleNamespace(get=lambda _: path.read_bytes())
    monkeypatch.setattr(mmengine.fileio, "get_file_backend", lambda *_, **__: store)
    # Default of torch before 2.6 if ``weights_only`` is not given.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    with pytest.raises(CheckpointError):
        CheckpointLoader.load_checkpoint(address, "cpu")
    assert not mark.exists()
