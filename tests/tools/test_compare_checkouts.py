import io
import json

import pytest

from smallvit.cli import UserError
from tool_helpers import load_tool

tool = load_tool("analysis_tools/compare_checkouts.py")


def test_a_worker_builds_what_it_is_asked_for_and_times_it(monkeypatch):
    ran = []
    monkeypatch.setattr(tool, "step_of", lambda job: lambda: ran.append(job["config"]))
    asked = [dict(config="a", seconds=0.0), {}, {}, dict(config="b", seconds=0.0), {}]
    out = io.StringIO()
    tool.work([json.dumps(each) for each in asked], out)
    assert ran == ["a", "a", "a", "b", "b"]
    answers = [float(line) for line in out.getvalue().splitlines()]
    assert len(answers) == len(asked)
    assert answers[0] == answers[3] == 0.0


class Fake:
    def __init__(self, name, times, order):
        self.name, self.times, self.order = name, iter(times), order

    def build_model(self, job):
        self.order.append(f"{self.name} {job['config']}")

    def time(self):
        self.order.append(self.name)
        return next(self.times)


def test_turns_alternate_and_each_checkout_goes_first():
    order = []
    workers = [Fake("ours", [2.0, 3.0, 4.0], order), Fake("theirs", [1.0, 2.0, 8.0], order)]
    rounds = tool.compare(workers, dict(config="c"), 3)
    assert rounds == [(2.0, 1.0), (3.0, 2.0), (4.0, 8.0)]
    assert order == ["ours c", "theirs c", *(2 * ["theirs", "ours", "ours", "theirs"])[:6]]
    assert tool.told(rounds) == "1.50 (0.50-2.00), 2.00"


def test_invalid_checkouts_and_models_are_named(tmp_path):
    with pytest.raises(UserError, match="is not a checkout"):
        tool.main([str(tmp_path)])
    with pytest.raises(UserError, match="--only nothing: there are DHVT-T/4"):
        tool.select_models("nothing")
    assert {name for name, _, _ in tool.select_models("CvT")} == {"CvT-13"}
    assert all((tool.HERE / "configs" / config).exists() for _, config, _ in tool.select_models(""))


@pytest.mark.exhaustive
def test_a_checkout_against_itself(capsys):
    tool.main([str(tool.HERE), "--only", "DHVT-T/4", "--rounds", "2", "--seconds", "0.01"])
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| DHVT-T/4 | ")
    assert row.count("|") == 4
