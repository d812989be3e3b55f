"""Atomic file writing: concurrent readers and writers, failed writes, permissions."""

import os
import stat

import pytest

from smallvit.utils.files import whole_file, write_whole


def test_takes_the_place_of_the_old_file_at_the_end(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with whole_file(path) as temporary:
        assert os.path.dirname(temporary) == str(tmp_path)
        assert temporary.endswith(".json")
        with open(temporary, "w") as file:
            file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["scores.json"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")

    def write_half():
        with whole_file(path) as temporary:
            open(temporary, "w").close()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.json"]


def test_two_writers_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "scores.json"
    with whole_file(path) as one, whole_file(path) as other:
        for name, content in ((one, "one"), (other, "other")):
            with open(name, "w") as file:
                file.write(content)
    assert path.read_text() == "one"  # the writer that finished last
    assert os.listdir(tmp_path) == ["scores.json"]


def test_an_error_names_the_file_itself(tmp_path):
    path = tmp_path / "missing" / "scores.json"
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(path, "{}")
    assert caught.value.filename == str(path)


def test_a_relative_name_without_a_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("last_checkpoint", "é")
    assert (tmp_path / "last_checkpoint").read_bytes() == "é".encode()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no mode bits")
def test_mode_is_that_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")}
    assert len(modes) == 1
