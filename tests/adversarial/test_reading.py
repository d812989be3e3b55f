"""The shared checkpoint reader rejects all hostile files."""

import zipfile

import pytest
import torch

from adversarial.bounds import bounded
from adversarial.hostile import DAMAGED, REFUSED, flip_a_bit
from smallvit.engine.checkpoint import digests, mmengine_pickles, reading
from smallvit.engine.checkpoint.formats import write_safetensors
from smallvit.engine.checkpoint.reading import load_from_local, trust_checkpoints
from smallvit.errors import CheckpointError
from smallvit.utils.versions import release

#: Tensor types that torch 2.4 cannot save, and plain Python values that it cannot read.
UNSIGNED, PLAIN = (torch.uint16,), ({1, 2}, 1 + 2j, b"\xff", bytearray(b"1"))
if release(torch.__version__) < (2, 5):
    UNSIGNED, PLAIN = (), ()


def functions():
    """Snapshot of the functions and classes used for reading checkpoints."""
    found = {
        name: (value.__defaults__, value.__kwdefaults__, dict(value.__dict__))
        for name, value in vars(torch._utils).items()
        if hasattr(value, "__defaults__")
    }
    for name, value in mmengine_pickles._STAND_INS.items():
        found[name] = dict(vars(value))
    return found, list(torch.serialization.get_safe_globals())


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(name, tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "hostile.pth"
    REFUSED[name](path, mark)
    before = functions()
    with bounded(), pytest.raises(CheckpointError, match=r"hostile\.pth") as caught:
        load_from_local(str(path), "cpu")
    assert not mark.exists()
    assert functions() == before
    assert len(str(caught.value)) < 1000


def test_executable_configs_are_dropped(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(reading, "print_log", lambda text, **_: said.append(text))
    torch.save({"meta": {"config": "x = 1", "cfg": "x = 2"}}, tmp_path / "a.pth")
    assert load_from_local(str(tmp_path / "a.pth")) == {"meta": {"cfg": "x = 2"}}
    assert "ignored its meta['config']" in said[0]


def test_files_written_by_torch_are_read(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = 3
    marked = torch.ones(3)
    marked.note = {"a": 1}
    tied = torch.randn(4, 4)
    values = {
        "tied": [tied, tied, tied.t(), tied[1:, ::2], tied[0].expand(100, 4)],
        "types": [
            torch.ones(2, dtype=kind)
            for kind in (torch.half, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
        ],
        "new types": [torch.zeros(3, dtype=kind) for kind in (torch.float8_e5m2, *UNSIGNED)],
        "empty": [torch.empty(0), torch.empty(0, 3), torch.tensor(1.0)],
        "parameter": parameter,
        "marked": marked,
        "sparse": torch.eye(3).to_sparse(),
        "plain": [*PLAIN, torch.half, torch.Size([1]), 1 << 90],
        "state": torch.nn.BatchNorm1d(3).state_dict(),
        ("a", 1): {0.5: None},
    }
    for old in (False, True):
        if old:
            del values["new types"]  # torch cannot read it back from its format before 1.6
        torch.save(values, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
        found = load_from_local(str(tmp_path / "a.pth"), "cpu")
        assert list(found) == list(values)
        assert found["plain"] == values["plain"]
        assert found["state"]._metadata == values["state"]._metadata
        assert found["marked"].note == {"a": 1}
        assert found["parameter"].note == 3
        for key in ("tied", "types", "empty"):
            assert all(map(torch.equal, found[key], values[key]))


def test_large_valid_values_are_read(tmp_path):
    names = [f"class {number}" for number in range(22_000)]
    value = {"meta": {"classes": names, "again": [names] * 3}, "list": list(range(150_000))}
    torch.save(value, tmp_path / "large.pth")
    assert load_from_local(str(tmp_path / "large.pth"), "cpu") == value


def test_every_flipped_bit_of_a_tensor_is_found(tmp_path):
    whole, path = tmp_path / "whole.pth", tmp_path / "flipped.pth"
    torch.save({"state_dict": {"w": torch.arange(1000.0)}}, whole)
    for seed in range(20):
        path.write_bytes(whole.read_bytes())
        flip_a_bit(path, seed)
        with pytest.raises(CheckpointError, match=r"flipped\.pth: damaged, the CRC of \w+/data/0"):
            load_from_local(str(path), "cpu")
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip().endswith("/data/0")


def test_files_without_crcs_have_a_switch(tmp_path):
    from torch import serialization

    if not hasattr(serialization, "set_crc32_options"):
        pytest.skip("this version of torch always writes CRCs")
    serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "a.pth")
    finally:
        serialization.set_crc32_options(True)
    with pytest.raises(CheckpointError, match=r"written without CRCs .*--no-crc"):
        load_from_local(str(tmp_path / "a.pth"))
    trust_checkpoints(False, check_crcs=False)
    try:
        assert torch.equal(load_from_local(str(tmp_path / "a.pth"))["w"], torch.ones(3))
    finally:
        trust_checkpoints(False)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_files_without_checksums_have_a_digest_file(ending, tmp_path, monkeypatch):
    path, weights = tmp_path / f"w{ending}", {"w": torch.arange(1000.0)}
    said = []
    monkeypatch.setattr(digests, "print_log", lambda text, **_: said.append(text))
    if ending == ".pth":
        torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)
        digests.write_with_digest(str(path), path.read_bytes())
    else:
        write_safetensors(str(path), weights)
    beside = tmp_path / f"w{ending}.sha256"
    assert beside.read_text() == f"{digests.file_sha256(path)}  {path.name}\n"
    load_from_local(str(path))
    assert not said
    flip_a_bit(path)
    with pytest.raises(CheckpointError, match=rf"w\{ending}: damaged, its SHA-256 is"):
        load_from_local(str(path))
    beside.unlink()
    found = load_from_local(str(path))["state_dict"]["w"]
    assert not torch.equal(found, weights["w"])
    assert len(said) == 1
    assert f"{path} is not verified" in said[0]


def test_the_hostile_files_are_hostile(tmp_path):
    """Check that torch itself would load some of them."""
    path = tmp_path / "a.pth"
    DAMAGED["a flipped bit"](path, tmp_path / "x")
    loaded = torch.load(path, weights_only=True)["state_dict"]["w"]
    assert not torch.equal(loaded, torch.arange(1000.0))
