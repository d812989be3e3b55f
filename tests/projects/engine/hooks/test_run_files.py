"""Removal of old checkpoints: only files that the run itself wrote to its folder are removed."""

import json
import os
import shutil

import pytest
import torch

from smallvit.engine.checkpoint.newest import last_checkpoint, newest_whole_checkpoint
from smallvit.engine.checkpoint.run_files import MARKER, RunFiles
from smallvit.engine.hooks.atomic_checkpoint import _save_whole
from smallvit.engine.run_record import read_record
from toy_runs import toy_config, toy_train


def names(folder, ending=".pth"):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(ending))


@pytest.fixture
def first(tmp_path):
    """Train for two epochs; the last one is the best."""
    toy_train(toy_config(tmp_path / "first", kept=1))
    assert names(tmp_path / "first") == ["best_toy_score_epoch_2.pth", "epoch_2.pth"]
    return tmp_path / "first"


def say(path, out, **info):
    """Write a copy of a checkpoint with other file names in its message hub."""
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["message_hub"]["runtime_info"].update(info)
    torch.save(checkpoint, out)
    return out


class TestResumedElsewhere:
    def test_files_of_the_first_run_are_kept(self, first, tmp_path):
        before = {path: path.read_bytes() for path in first.glob("*.pth")}
        toy_train(toy_config(tmp_path / "second", epochs=4, kept=1), first / "epoch_2.pth")
        assert {path: path.read_bytes() for path in first.glob("*.pth")} == before
        assert names(tmp_path / "second") == ["best_toy_score_epoch_4.pth", "epoch_4.pth"]

    def test_checkpoints_of_another_run_are_kept(self, first, tmp_path):
        other = tmp_path / "other"
        toy_train(toy_config(other, epochs=1, kept=1))
        toy_train(toy_config(tmp_path / "long", epochs=4, kept=2))
        record = (other / "run.json").read_bytes()
        theirs = {path: path.read_bytes() for path in other.glob("*.pth")}
        hostile = say(
            tmp_path / "long" / "epoch_4.pth",
            tmp_path / "hostile.pth",
            keep_ckpt_ids=[1, 2, 3, 4],
            best_ckpt=str(other / "best_toy_score_epoch_1.pth"),
        )
        toy_train(toy_config(other, epochs=6, kept=1), hostile)
        assert {path: path.read_bytes() for path in theirs} == theirs
        assert names(other)[-1] == "epoch_6.pth"
        assert "epoch_5.pth" not in names(other)
        kept = json.loads(record)
        assert read_record(str(other))["id"] != kept["id"]
        assert (other / f"run-{kept['id'][:8]}.json").read_bytes() == record

    def test_checkpoints_of_the_same_names_are_kept(self, first, tmp_path):
        """Also for a new run in the folder of another one, and for user files with such names."""
        (first / "epoch_1.pth").write_text("mine")
        theirs = {path: path.read_bytes() for path in first.glob("*.pth")}
        run_id = read_record(str(first))["id"]
        for _ in range(2):
            toy_train(toy_config(first, kept=2))
        kept = [
            first / f"{name}-{run_id[:8]}.pth" for name in ("best_toy_score_epoch_2", "epoch_2")
        ]
        assert [path.read_bytes() for path in kept] == [
            theirs[first / f"{name}.pth"] for name in ("best_toy_score_epoch_2", "epoch_2")
        ]
        assert (first / "epoch_1-former.pth").read_text() == "mine"
        assert len(names(first)) == 9  # from three runs
        assert newest_whole_checkpoint(str(first)) == str(first / "epoch_2.pth")


@pytest.mark.parametrize("by_file", [False, True])
def test_a_resumed_run_replaces_its_own_checkpoints(first, by_file):
    resume = first / "epoch_2.pth" if by_file else True
    run_id = read_record(str(first))["id"]
    toy_train(toy_config(first, epochs=3, kept=1), resume)
    assert names(first) == ["best_toy_score_epoch_3.pth", "epoch_3.pth"]
    record = read_record(str(first))
    assert record["id"] == run_id
    assert len(record["sessions"]) == 2
    assert not list(first.glob("run-*.json"))


def test_surplus_checkpoints_are_removed_on_resuming(tmp_path):
    toy_train(toy_config(tmp_path / "a", epochs=3, kept=3))
    toy_train(toy_config(tmp_path / "a", epochs=3, kept=1, sign=-1), True)
    assert names(tmp_path / "a") == ["best_toy_score_epoch_3.pth", "epoch_3.pth"]


@pytest.mark.parametrize("hook", ["CheckpointHook", "OwnHook"])
@pytest.mark.parametrize("copied", [False, True])
def test_files_named_in_a_checkpoint_are_kept(first, hook, copied, tmp_path):
    """Files, folders and links that do not belong to the run, inside and outside of its folder."""
    victims = tmp_path / "victims"
    victims.mkdir()
    (victims / "thesis.pth").write_text("mine")
    (victims / "folder.pth").mkdir()
    (victims / "folder.pth" / "data.txt").write_text("mine")
    (first / "epoch_1.pth").write_text("mine")
    (first / "epoch_7.pth").mkdir()
    (first / "epoch_7.pth" / "data.txt").write_text("mine")
    (first / "link.pth").symlink_to(victims / "thesis.pth")
    before = sorted(str(path) for path in tmp_path.rglob("*") if path.suffix != ".json")
    for best in (
        victims / "thesis.pth",
        victims / "folder.pth",
        first / "epoch_1.pth",
        first / "link.pth",
        first / ".." / "victims" / "thesis.pth",
        first,
    ):
        hostile = say(
            first / "epoch_2.pth",
            first / "epoch_2.pth" if copied else tmp_path / "hostile.pth",
            best_ckpt=str(best),
            keep_ckpt_ids=["/../../victims/thesis", 1, 7, True, None, -1, 1 << 80],
        )
        cfg = toy_config(first, epochs=2, kept=1, hook=hook)
        toy_train(cfg, hostile)
    after = {str(path) for path in tmp_path.rglob("*")}
    assert set(before) <= after
    assert (victims / "thesis.pth").read_text() == (first / "epoch_1.pth").read_text() == "mine"


def test_a_file_replaced_during_the_run_is_kept(tmp_path):
    cfg = toy_config(tmp_path / "a", epochs=1, kept=1)
    runner = toy_train(cfg)
    files = runner._smallvit_run_files
    path = tmp_path / "a" / "epoch_1.pth"
    assert files.own(str(path))
    os.replace(shutil.copy(path, tmp_path / "b"), path)
    assert not files.own(str(path))
    files.remove(str(path), str(tmp_path / "a"))
    assert path.exists()


def test_two_sessions_of_a_run_write_under_names_of_their_own(tmp_path):
    """As can happen where file locks are not available."""
    files = RunFiles("0" * 32)

    def write(text):
        def save(folder, name):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
                if text == "first":
                    _save_whole(write("second"), files, "1" * 8, folder, "epoch_1.pth")
                file.write(", whole")

        return save

    _save_whole(write("first"), files, "0" * 8, str(tmp_path), "epoch_1.pth")
    assert (tmp_path / "epoch_1.pth").read_text() == "first, whole"
    assert names(tmp_path, "") == ["epoch_1.pth"]


def test_leftovers_of_the_run_are_removed_and_no_others(first):
    own, other = read_record(str(first))["id"], "f" * 32
    theirs = ["mine.incomplete", f"epoch_3.pth.{other}.00000000.incomplete"]
    for name in (*theirs, f"epoch_3.pth.{own}.00000000.incomplete", f"a.pth.{own}.incomplete"):
        (first / name).write_text("half")
    toy_train(toy_config(first, epochs=2, kept=1), True)
    assert names(first, ".incomplete") == sorted(theirs)


class TestFolders:
    """Checkpoints of strategies, which are folders."""

    @pytest.fixture
    def written(self, tmp_path):
        folder = tmp_path / "work" / "epoch_1.pth"
        (folder / "rank0").mkdir(parents=True)
        (folder / "rank0" / "state.pt").write_text("state")
        files = RunFiles("0" * 32)
        files.record(str(folder))
        return files, folder

    def test_own(self, written):
        files, folder = written
        files.remove(str(folder), str(folder.parent))
        assert not folder.exists()

    def test_with_a_file_of_the_user(self, written):
        files, folder = written
        (folder / "rank0" / "notes.txt").write_text("mine")
        files.remove(str(folder), str(folder.parent))
        assert [path.name for path in folder.rglob("*")] == ["rank0", "notes.txt"]

    def test_of_another_run(self, written):
        _, folder = written
        RunFiles("1" * 32).remove(str(folder), str(folder.parent))
        assert (folder / "rank0" / "state.pt").exists()

    def test_a_marker_that_names_files_elsewhere(self, written, tmp_path):
        files, folder = written
        (tmp_path / "mine.txt").write_text("mine")
        (folder / "link").symlink_to(tmp_path)
        names = ["../../mine.txt", str(tmp_path / "mine.txt"), "link/mine.txt", 3, None]
        (folder / MARKER).write_text(json.dumps({"run": files.id, "files": names}))
        files.remove(str(folder), str(folder.parent))
        assert (tmp_path / "mine.txt").exists()


class TestPointer:
    def test_is_relative(self, first):
        assert (first / "last_checkpoint").read_text() == "epoch_2.pth"
        assert last_checkpoint(str(first)) == str(first / "epoch_2.pth")

    def test_a_copied_run_uses_its_own_checkpoints(self, first, tmp_path):
        copy = shutil.copytree(first, tmp_path / "copy")
        before = {path: path.read_bytes() for path in first.iterdir() if path.is_file()}
        assert newest_whole_checkpoint(str(copy)) == str(copy / "epoch_2.pth")
        toy_train(toy_config(copy, epochs=3, kept=1), True)
        assert {path: path.read_bytes() for path in before} == before
        assert names(copy) == ["best_toy_score_epoch_3.pth", "epoch_3.pth"]

    def test_of_a_copy_that_mmengine_wrote(self, first, tmp_path):
        copy = shutil.copytree(first, tmp_path / "copy")
        (copy / "last_checkpoint").write_text(str(first / "epoch_2.pth"))
        assert newest_whole_checkpoint(str(copy)) == str(copy / "epoch_2.pth")

    @pytest.mark.parametrize("with_own", [False, True])
    def test_paths_outside_of_the_folder(self, with_own, first, tmp_path, monkeypatch):
        from smallvit.engine.checkpoint import newest

        said = []
        monkeypatch.setattr(newest, "print_log", lambda text, **_: said.append(text))
        other = tmp_path / "other"
        other.mkdir()
        if with_own:
            shutil.copy(first / "epoch_2.pth", other / "epoch_1.pth")
        (other / "last_checkpoint").write_text("../first/epoch_2.pth")
        found = newest_whole_checkpoint(str(other))
        assert found == str(other / "epoch_1.pth" if with_own else first / "epoch_2.pth")
        assert any("points outside of its folder" in text for text in said) != with_own

    @pytest.mark.parametrize("content", [b"", b"\0", b"a\nb", b"\xff" * 300, b"/" * 70000, b"."])
    def test_invalid_last_checkpoint(self, content, first):
        (first / "last_checkpoint").write_bytes(content)
        assert newest_whole_checkpoint(str(first)) == str(first / "epoch_2.pth")
