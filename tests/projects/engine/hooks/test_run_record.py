"""Damaged run records: training continues with a warning, and the file is kept."""

import json
import logging
from types import SimpleNamespace

import pytest

from malformed import MALFORMED_FILES, variants, write_malformed
from smallvit.engine.hooks.run_record import _earlier
from smallvit.engine.run_record import damage_of, read_record
from toy_runs import toy_config, toy_train

WHOLE = {"id": "0" * 32, "sessions": [{"seconds": 1.0}], "best": {"a": 1}, "final": None}


def earlier(folder):
    return _earlier(SimpleNamespace(work_dir=str(folder), logger=logging.getLogger("record")))


@pytest.mark.parametrize("kind", [kind for kind in MALFORMED_FILES if kind != "other keys"])
def test_a_malformed_record_is_reported_and_kept(tmp_path, caplog, kind):
    for name in ("run-damaged.json", "run-damaged-2.json"):
        write_malformed(tmp_path / "run.json", kind)
        assert read_record(str(tmp_path)) == {}
        assert earlier(tmp_path) == {}
        assert "run.json is damaged (" in caplog.text
        assert (tmp_path / name).exists()
        assert not (tmp_path / "run.json").exists()


def test_values_that_a_session_cannot_be_added_to(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(WHOLE))
    assert damage_of(str(tmp_path)) is None
    possible = ("sessions missing", "best missing", "best=None", "best={'a': [7]}", "final missing")
    for name, content in variants(WHOLE, ["sessions", "best", "final"]):
        path.write_text(json.dumps(content))
        damaged = name not in (*possible, "final=None", "final={'a': [7]}")
        assert (damage_of(str(tmp_path)) is not None) == damaged, name
    for seconds in ("1", -1, float("nan"), None, 10**400):
        path.write_text(json.dumps({**WHOLE, "sessions": [{"seconds": seconds}]}))
        assert damage_of(str(tmp_path)) is not None


def test_training_continues_despite_a_damaged_record(tmp_path):
    (tmp_path / "a").mkdir()
    damaged = json.dumps({**WHOLE, "sessions": [{"seconds": "a while"}]})
    (tmp_path / "a" / "run.json").write_text(damaged)
    toy_train(toy_config(tmp_path / "a", epochs=1))
    assert read_record(str(tmp_path / "a"))["status"] == "finished"
    assert (tmp_path / "a" / "run-damaged.json").read_text() == damaged
    (log,) = (tmp_path / "a").rglob("*.log")
    assert "sessions.seconds to be a number, got 'a while'" in log.read_text()
