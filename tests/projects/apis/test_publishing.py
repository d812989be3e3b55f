"""Publishing of checkpoints: stripped files and the hub."""

import numpy as np
import pytest
import torch

from smallvit.apis import Predictor, from_pretrained, publish, push_to_hub
from smallvit.cli.main import main
from smallvit.engine.checkpoint.digests import file_sha256
from smallvit.errors import CheckpointError, UserError

IMAGE = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def trained(checkpoints, tmp_path):
    """A checkpoint with training state."""
    content = torch.load(checkpoints["classification"], weights_only=True)
    state = content["state_dict"]
    content["optimizer"] = {"state": {0: torch.zeros(10_000)}}
    content["message_hub"] = {"log_scalars": {}}
    content["meta"] = {"dataset_meta": {"classes": list("abcdefghij")}, "cfg": "import os"}
    content["ema_state_dict"] = {
        "steps": torch.tensor(3),
        **{f"module.{key}": torch.zeros_like(value) for key, value in state.items()},
    }
    torch.save(content, tmp_path / "epoch_1.pth")
    return tmp_path / "epoch_1.pth"


def test_stripped_content_and_file_name(trained, tmp_path, capsys):
    assert main(["publish", str(trained), "--out", str(tmp_path / "mine.pth")]) == 0
    path = tmp_path / capsys.readouterr().out.strip().rpartition("/")[2]
    assert path.name == f"mine-{file_sha256(path)[:8]}.pth"
    content = torch.load(path, weights_only=True)
    assert content.keys() == {"state_dict", "meta", "prediction_config"}
    assert content["meta"].keys() == {"dataset_meta"}
    assert path.stat().st_size < trained.stat().st_size / 2
    ours, theirs = (Predictor(each, device="cpu")(IMAGE) for each in (trained, path))
    assert np.array_equal(ours.scores, theirs.scores)
    assert ours.name == theirs.name
    assert ours.name in "abcdefghij"
    with pytest.raises(UserError, match="already been published"):
        publish(trained, tmp_path / "mine.pth")
    averaged = publish(trained, tmp_path / "average.pth", averaged=True)
    state = torch.load(averaged, weights_only=True)["state_dict"]
    assert all((value == 0).all() for value in state.values())
    with pytest.raises(UserError, match="only weights"):
        publish(trained, tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("tmp*"))


def test_a_local_folder_as_the_hub(trained, checkpoints, tmp_path, capsys):
    out = tmp_path / "model"
    args = ["--push-to", str(out), "--note", "Trained on noise."]
    assert main(["publish", str(trained), *args]) == 0
    card = (out / "README.md").read_text()
    assert card.startswith("---\npipeline_tag: image-classification\n")
    assert "Classes (10): 0, 1" in card
    assert "Trained on noise." in card
    found = from_pretrained(out, device="cpu")
    ours = Predictor(trained, device="cpu")(IMAGE)
    assert np.array_equal(found(IMAGE).scores, ours.scores)
    assert found.classes == tuple("abcdefghij")
    push_to_hub(checkpoints["cascade"], tmp_path / "cascade")
    assert from_pretrained(tmp_path / "cascade", device="cpu").model.calibration is not None
    with pytest.raises(UserError, match="is not empty"):
        push_to_hub(trained, out)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        from_pretrained(tmp_path / "missing")


def test_upload_to_the_hub(trained, monkeypatch, tmp_path):
    """With a stub of the hub library that stores uploads in a folder."""
    hub = pytest.importorskip("huggingface_hub")
    import shutil

    class Api:
        def create_repo(self, repository, private, exist_ok):
            return f"hub/{repository}"

        def upload_folder(self, repo_id, folder_path):
            shutil.copytree(folder_path, tmp_path / "hub" / repo_id)

    def fetch(repository, name, revision):
        path = tmp_path / "hub" / repository / name
        if not path.is_file():
            raise hub.errors.HfHubHTTPError("404", response=None)
        return str(path)

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    assert push_to_hub(trained, "hf://me/digits") == "hub/me/digits"
    assert from_pretrained("hf://me/digits@main", device="cpu")(IMAGE).shape == (32, 32)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *a, **k: 1 / 0)
    with pytest.raises(CheckpointError, match="hf://me/other: division"):
        from_pretrained("hf://me/other")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"smallvit\[hub\]"):
        from_pretrained("hf://me/other")


def test_files_without_a_config(tmp_path):
    torch.save({"state_dict": {"x": torch.zeros(1)}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="contains no config"):
        push_to_hub(tmp_path / "x.pth", tmp_path / "out")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="no state_dict"):
        publish(tmp_path / "y.pth", tmp_path / "z.pth")
    for flags in ([], ["--out", "x", "--push-to", "y"], ["--out", "x", "--private"]):
        with pytest.raises(SystemExit):
            main(["publish", "x.pth", *flags])
