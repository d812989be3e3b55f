"""Hyperparameter search, with synthetic results."""

import json
from dataclasses import replace

import pytest

from smallvit.bench.jobs import Jobs
from smallvit.bench.plan import WEIGHTS, BenchSettings, Run
from smallvit.bench.scheduler import Outcome
from smallvit.bench.search import groups_to_search, search
from smallvit.bench.stored import check_plan

PLAIN, GUIDED = Run("vit", 5, 0, 400, 10), Run("vit+guidance", 5, 0, 400, 10)
TEACHER = Run("teacher", 5, 0, 400, 10)


class Pool:
    """Run each trial immediately, with an accuracy that depends on its learning rate and weight."""

    def __init__(self, accuracies):
        self.accuracies, self.done = accuracies, []

    def run(self, jobs, watcher):
        for job in jobs:
            run, folder = job.arguments[1], job.arguments[4]
            self.done.append((run.method, run.rate, run.weight, run.iters))
            accuracy = self.accuracies.get((run.rate, run.weight))
            if accuracy is not None:
                path = folder + "/trial.json"
                with make(path) as file:
                    json.dump({"accuracy": accuracy, "iters": run.iters, "seconds": 2.0}, file)
        return {job.name: Outcome() for job in jobs}


def make(path):
    from pathlib import Path

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w")


@pytest.fixture
def jobs(tmp_path):
    settings = BenchSettings("digits", 32, 16, False, "iters", 400)
    return Jobs(str(tmp_path), settings, 10, 0, [PLAIN, GUIDED, TEACHER])


def test_the_best_rate(jobs):
    pool = Pool({(1.0, ""): 50.0, (0.3, ""): 40.0, (3.0, ""): 60.0})
    (chosen,) = search({("vit", 5): PLAIN}, jobs, pool, 1)
    assert (chosen["rate"], chosen["weight"], chosen["seconds"]) == (3.0, "", 6.0)
    assert chosen["trials"] == {"1": 50.0, "0.3": 40.0, "3": 60.0}
    assert {each[3] for each in pool.done} == {80}
    again = Pool({})
    assert search({("vit", 5): PLAIN}, jobs, again, 1) == [chosen]
    assert again.done == []


def test_the_recipe_s_rate_is_preferred_for_ties_and_failures(jobs):
    pool = Pool({(1.0, ""): 50.0, (0.3, ""): 50.0, (3.0, ""): 50.0})
    assert search({("vit", 5): PLAIN}, jobs, pool, 1)[0]["rate"] == 1.0
    assert search({("vit", None): Run("vit", None, 0, 400, 10)}, jobs, Pool({}), 1)[0]["rate"] == 1


def test_a_guided_method_chooses_its_weight_first(jobs):
    accuracies = {(1.0, "2.5"): 30.0, (1.0, "0.25"): 40.0, (1.0, "balanced"): 45.0}
    accuracies |= {(0.3, "balanced"): 47.0, (3.0, "balanced"): 20.0}
    pool = Pool(accuracies)
    (chosen,) = search({("vit+guidance", 5): GUIDED}, jobs, pool, 1)
    assert (chosen["rate"], chosen["weight"]) == (0.3, "balanced")
    assert chosen["weights"] == {"2.5": 30.0, "0.25": 40.0, "balanced": 45.0}
    # The trial with the recipe's rate is reused from the search for the weight.
    assert len(pool.done) == len(WEIGHTS) + 2


def test_a_weight_of_the_method_is_kept(jobs):
    name = "vit+guidance=0.25"
    pool = Pool({(1.0, ""): 50.0, (0.3, ""): 40.0, (3.0, ""): 60.0})
    (chosen,) = search({(name, 5): replace(GUIDED, method=name)}, jobs, pool, 1)
    assert (chosen["rate"], chosen["weight"], chosen["weights"]) == (3.0, "", {})


def test_what_is_searched():
    runs = [PLAIN, GUIDED, TEACHER, Run("dwnet", 5, 0, 100, 5)]
    assert groups_to_search(runs, [], []) == {("vit", 5): PLAIN, ("vit+guidance", 5): GUIDED}
    known = [{"method": "vit", "samples": 5}]
    assert groups_to_search(runs, known, []) == {("vit+guidance", 5): GUIDED}
    assert groups_to_search(runs, known, [GUIDED]) == {}


@pytest.mark.parametrize("wrong", ["nan", "much", "-1"])
def test_invalid_weights_are_named(wrong):
    from dataclasses import asdict

    run = asdict(PLAIN) | {"weight": wrong}
    settings = asdict(BenchSettings("digits", 32, 16, False, "iters", 400))
    with pytest.raises(ValueError, match=r"weight|much"):
        check_plan({"settings": settings, "runs": [run], "data": {}})
