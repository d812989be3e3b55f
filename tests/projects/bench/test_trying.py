from types import SimpleNamespace

import pytest

from smallvit.bench.scheduler import Job
from smallvit.bench.trying import find_speeds
from smallvit.errors import UserError

SPEED = {"setup": 1.0, "step": 0.1, "val": 0.2, "test": 0.3}


class FakePool:
    """Pool whose trials succeed, except for those in ``failing``."""

    def __init__(self, *failing):
        self.failing, self.tried = failing, []

    def run(self, jobs, display):
        self.tried += [job.name for job in jobs]
        reasons = {job.name: "no memory" if job.name in self.failing else None for job in jobs}
        return {name: SimpleNamespace(reason=why, value=SPEED) for name, why in reasons.items()}


def find(tmp_path, settings, names, *failing):
    pool = FakePool(*failing)
    trials = {name: Job(name, "trial", (), f"{name}.txt") for name in names}
    return find_speeds(str(tmp_path), settings, trials, pool, 1), pool.tried


def test_known_speeds_are_not_measured_again(tmp_path):
    find(tmp_path, {"images": "a"}, ["vit"])
    speeds, tried = find(tmp_path, {"images": "a"}, ["vit", "dhvt"])
    assert (tried, set(speeds)) == (["dhvt"], {"vit", "dhvt"})


def test_other_images_are_measured_again(tmp_path):
    find(tmp_path, {"images": "a"}, ["vit"])
    assert find(tmp_path, {"images": "b"}, ["vit"])[1] == ["vit"]


def test_methods_that_cannot_be_trained(tmp_path):
    speeds, _ = find(tmp_path, {}, ["vit", "dhvt"], "dhvt")
    assert speeds["dhvt"] == SPEED
    with pytest.raises(UserError, match=r"no method .* dwnet: no memory \(log: dwnet\.txt\)"):
        find(tmp_path, {"images": "b"}, ["dwnet"], "dwnet")
