"""Bench plans: runs and their lengths, compared with values computed by hand."""

import json
from dataclasses import replace

import pytest

from malformed import MALFORMED_FILES, WRONG_VALUES, write_malformed
from smallvit.bench.methods import TEACHER, parse_method
from smallvit.bench.plan import (
    LEAST_ITERATIONS,
    BenchSettings,
    Pace,
    Run,
    Speed,
    evaluations,
    fit_into,
    least_seconds,
    plan_runs,
    settle_teachers,
    trial_steps,
)
from smallvit.bench.plan_file import merge_plans, read_plan, to_json
from smallvit.errors import UserError

METHODS = [parse_method("vit"), parse_method("dhvt")]
GUIDED = [parse_method("vit"), parse_method("vit+guidance")]
QUICK = Speed(setup=1.0, step=0.1, val=0.5, test=1.0)
SLOW = Speed(setup=1.0, step=0.4, val=0.5, test=1.0)
DATA = {
    **{"classes": ["a", "b"], "same_images": True, "tested_on": "val", "selected_on": "val"},
    **{"counts": {"train": [5, 7], "val": [1, 1]}},
}


#: Values from the list of wrong ones that are valid for these keys.
POSSIBLE = {
    **{"settings.flip": (True,), "data.same_images": (True,), "runs.0.samples": (None,)},
    **{"runs.0.method": ("7",), "data.tested_on": ("7",), "speeds": (None,)},
    **{"settings.void": (None,)},
}


def settings(budget="iters", amount=100, **changes):
    fields = dict(data="digits", image_size=32, batch_size=10, flip=False)
    return BenchSettings(**(fields | changes), budget=budget, amount=amount)


def test_steps_are_the_same_for_all():
    runs = plan_runs(settings(), METHODS, [5, None], range(2), {5: 10, None: 95})
    assert {run.iters for run in runs} == {100}
    assert {run.evals for run in runs} == {5}  # one for 20 steps
    # Seed by seed, so that an interrupted bench has comparable results.
    assert [(r.seed, r.samples, r.method) for r in runs[:5]] == [
        *((0, 5, "vit"), (0, 5, "dhvt"), (0, None, "vit"), (0, None, "dhvt"), (1, 5, "vit")),
    ]


@pytest.mark.parametrize(("budget", "amount"), [("epochs", 1e300), ("iters", 10**10)])
def test_endless_runs_are_refused(budget, amount):
    with pytest.raises(UserError, match=f"--{budget} 1e.* is more than 1,000,000,000 steps"):
        plan_runs(settings(budget, amount), METHODS, [5], [0], {5: 10})


def test_epochs_become_steps_of_each_subset():
    runs = plan_runs(settings("epochs", 3), METHODS, [5, None], [0], {5: 10, None: 95})
    # ceil(3 * 10 / 10) and ceil(3 * 95 / 10)
    assert {(run.samples, run.iters) for run in runs} == {(5, 3), (None, 29)}


def test_minutes_are_divided_equally():
    # 2 methods, 1 subset, 3 seeds, 2 jobs: 60 s * 2 / 6 = 20 s per run, 19.048 s without the
    # reserve of 5%, 17.048 s without setup and test. A fifth of that is enough for 6 validations of
    # 0.5 s, which leaves 14.048 s: 140 steps of 0.1 s. For steps of 0.4 s, two validations leave
    # time for 40 steps; more would leave fewer than 20 steps between them.
    speeds = {"vit": QUICK, "dhvt": SLOW}
    runs = plan_runs(settings("minutes", 1), METHODS, [None], range(3), {None: 95}, speeds, jobs=2)
    assert [(run.method, run.iters, run.evals) for run in runs] == [
        ("vit", 140, 6),
        ("dhvt", 40, 2),
    ] * 3


def test_the_time_of_a_guided_run_includes_its_teacher():
    # 40 s per run: 30 s for the guided student, 10 s for the teacher.
    speeds = {"vit": QUICK, "vit+guidance": QUICK, TEACHER: QUICK}
    runs = plan_runs(settings("minutes", 80 / 60), GUIDED, [None], [0], {None: 95}, speeds)
    assert [run.method for run in runs] == [TEACHER, "vit", "vit+guidance"]
    assert [(run.iters, run.evals) for run in runs] == [
        fit_into(seconds, QUICK) for seconds in (10, 40, 30)
    ]


def test_pretraining_replaces_training_steps_of_equal_time():
    # A quarter of the 100 steps is omitted, which leaves time for 25 / 2.5 pretraining steps.
    methods = [parse_method("vit"), parse_method("vit+masked")]
    pace = {"vit+masked": Pace(setup=1.0, step=0.5, training=0.2)}
    asked = settings(pretraining=0.25)
    runs = plan_runs(asked, methods, [None], [0], {None: 95}, paces=pace)
    assert [(run.iters, run.pretraining) for run in runs] == [(100, 0), (75, 10)]
    # At least one step remains for training and one for pretraining.
    runs = plan_runs(settings(amount=1), methods, [None], [0], {None: 95}, paces=pace)
    assert [(run.iters, run.pretraining) for run in runs] == [(1, 0), (1, 1)]


def test_pretraining_gets_its_share_of_the_time():
    # 40 s per run: 10 s for the teacher, and half of the remaining 30 s.
    methods = [parse_method("vit"), parse_method("vit+guidance+views")]
    speeds = {"vit": QUICK, "vit+guidance+views": QUICK, TEACHER: QUICK}
    paces = {"vit+guidance+views": Pace(setup=1.0, step=0.2, training=9.0)}
    plan = (methods, [None], [0], {None: 95}, speeds)
    runs = plan_runs(settings("minutes", 80 / 60), *plan, paces=paces)
    assert [(run.method, run.iters) for run in runs] == [
        (TEACHER, fit_into(10, QUICK)[0]),
        ("vit", fit_into(40, QUICK)[0]),
        ("vit+guidance+views", fit_into(15, QUICK)[0]),
    ]
    # 15 s without the reserve of 5% and the setup: 13.28 s, 66 steps of 0.2 s.
    assert runs[-1].pretraining == 66
    with pytest.raises(UserError, match=r"vit\+guidance\+views, pretraining needs"):
        plan_runs(settings("minutes", 0.5, pretraining=0.01), *plan, paces=paces)


def test_idle_jobs_are_not_counted():
    runs = plan_runs(
        settings("minutes", 1), METHODS[:1], [None], [0], {None: 95}, {"vit": QUICK}, jobs=8
    )
    assert runs[0].iters == fit_into(60, QUICK)[0]


def test_a_too_small_budget_reports_the_minimum():
    speeds = {"vit": QUICK, "vit+guidance": QUICK, TEACHER: SLOW}
    plan = (GUIDED, [None], range(3), {None: 95}, speeds, 2)
    with pytest.raises(UserError, match="teacher needs") as caught:
        plan_runs(settings("minutes", 0.1), *plan)
    least = float(str(caught.value).partition("at least --budget-minutes ")[2].partition(",")[0])
    assert min(run.iters for run in plan_runs(settings("minutes", least), *plan)) >= (
        LEAST_ITERATIONS
    )
    with pytest.raises(UserError):
        plan_runs(settings("minutes", least - 0.015), *plan)


def test_a_too_small_budget_suggests_fewer_runs():
    # 2 runs of the fast method: at least (1 + 1 + 0.5 + 2.1) * 1.05 = 4.83 s each per seed.
    speeds = {"vit": QUICK, "dhvt": QUICK}
    plan = (METHODS, [5, None], range(3), {5: 10, None: 95}, speeds)
    with pytest.raises(UserError, match=r"this fits: --seeds 2$"):
        plan_runs(settings("minutes", 40 / 60), *plan)
    with pytest.raises(UserError, match=r"fits: --seeds 1 --samples-per-class 5$"):
        plan_runs(settings("minutes", 12 / 60), *plan)
    with pytest.raises(UserError, match="not even one run of each method fits"):
        plan_runs(settings("minutes", 5 / 60), *plan)


def test_the_least_time_is_enough_for_the_least_steps():
    for speed in (QUICK, SLOW, Speed(0, 0.017, 0, 0)):
        assert fit_into(least_seconds(speed), speed)[0] >= LEAST_ITERATIONS
    assert fit_into(1.0, QUICK)[0] == 0


def test_validations_leave_steps_between_them():
    assert [evaluations(iters) for iters in (1, 39, 40, 199, 400, 10**6)] == [1, 1, 2, 9, 10, 10]
    # The last validation is at the end.
    assert Run("vit", None, 0, 105, 10).val_interval == 11
    assert Run("vit", None, 0, 105, 1).val_interval == 105


def test_each_run_has_its_own_folder():
    names = ("timm:resnet18", "vit+shortcut", "my/config.py")
    folders = {
        Run(name, n, seed, 1, 1).folder("o") for name in names for n in (5, None) for seed in (0, 1)
    }
    assert len(folders) == 12
    assert Run("timm:resnet18", None, 2, 1, 1).folder("o") == "o/runs/timm_resnet18/all/seed2"


class TestResume:
    def plan(self, tmp_path, runs, **changes):
        (tmp_path / "plan.json").write_text(to_json(settings(**changes), DATA, runs, {"jobs": 2}))
        return read_plan(str(tmp_path))

    def test_a_plan_is_read_as_it_was_written(self, tmp_path):
        runs = [Run("vit", None, 0, 10, 1)]
        plan = self.plan(tmp_path, runs)
        assert (plan["settings"], plan["runs"], plan["data"]) == (settings(), runs, DATA)
        assert plan["jobs"] == 2
        assert read_plan(str(tmp_path / "elsewhere")) is None

    def test_existing_runs_keep_their_length_when_others_are_added(self, tmp_path):
        first, other = Run("vit", None, 0, 10, 1), Run("dvt", None, 0, 10, 1)
        old = self.plan(tmp_path, [first, other])
        longer, new = Run("vit", None, 0, 99, 4), Run("dhvt", None, 0, 99, 4)
        assert merge_plans(old, settings(), DATA, [longer, new]) == ([first, new], [other])

    def test_added_seeds_are_as_long_as_the_others(self, tmp_path):
        # Continued once, or planned in minutes for fewer runs than now.
        first = Run("vit", None, 0, 10, 1, 48, 3.0, pretraining=5).prolonged()
        shorter, other = Run("vit", None, 1, 10, 1), Run("vit", 5, 1, 10, 1)
        old = self.plan(tmp_path, [first])
        wanted, rest = merge_plans(old, settings(), DATA, [shorter, other])
        assert wanted == [replace(first, seed=1), other]
        assert rest == [first]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"amount": 200}, "amount was 100 and is 200 now"),
            ({"image_size": 64}, "image_size was 32 and is 64"),
        ],
    )
    def test_other_settings_are_refused(self, tmp_path, changes, said):
        old = self.plan(tmp_path, [])
        with pytest.raises(UserError, match=said):
            merge_plans(old, settings(**changes), DATA, [])

    def test_numbers_of_images_are_compared_if_stored(self, tmp_path):
        now = DATA | {"images": {"train": 12}}
        old = self.plan(tmp_path, [])
        assert merge_plans(old, settings(), now, []) == ([], [])
        with pytest.raises(UserError, match="the images have changed"):
            merge_plans(old | {"data": DATA | {"images": {"train": 11}}}, settings(), now, [])

    def test_other_images_are_refused(self, tmp_path):
        old = self.plan(tmp_path, [])
        with pytest.raises(UserError, match="the images have changed"):
            merge_plans(old, settings(), DATA | {"classes": ["a", "c"]}, [])

    @pytest.mark.parametrize(
        ("before", "now"),
        [
            ({"train": {"listing": "a", "sizes": "b"}}, {"train": {"listing": "a", "sizes": "c"}}),
            ({"train": {"listing": "a"}}, {"train": {"listing": "b", "sizes": "c"}}),
            ({"all": "a"}, {"all": "b"}),
            ({}, {"all": "b"}),
            (["train"], {"train": {"listing": "a"}}),
        ],
    )
    def test_other_fingerprints_are_refused(self, tmp_path, before, now):
        old = self.plan(tmp_path, []) | {"data": DATA | {"fingerprints": before}}
        with pytest.raises(UserError, match="the images have changed"):
            merge_plans(old, settings(), DATA | {"fingerprints": now}, [])

    def test_another_ignored_value_is_no_change_of_the_images(self, tmp_path):
        old = self.plan(tmp_path, [])
        with pytest.raises(UserError, match=r"void was None and is 3 now\. Use another --out"):
            merge_plans(old, settings(void=3), DATA | {"classes": ["a"]}, [])

    def test_fingerprints_of_earlier_versions_have_no_sizes(self, tmp_path):
        old = self.plan(tmp_path, []) | {"data": DATA | {"fingerprints": {"train": {"samples": 1}}}}
        now = DATA | {"fingerprints": {"train": {"samples": 1, "sizes": "b"}}}
        assert merge_plans(old, settings(), now, []) == ([], [])

    @pytest.mark.parametrize("kind", MALFORMED_FILES)
    def test_a_malformed_plan_is_named(self, tmp_path, kind):
        write_malformed(tmp_path / "plan.json", kind)
        with pytest.raises(UserError, match=r"plan\.json is damaged or not a plan of this bench"):
            read_plan(str(tmp_path))

    @pytest.mark.parametrize(
        "path",
        [
            *("settings", "settings.amount", "settings.batch_size", "settings.flip"),
            *("settings.budget", "data", "data.classes", "data.counts", "data.counts.train"),
            *("data.counts.train.0", "data.same_images", "data.tested_on", "runs", "runs.0"),
            *("runs.0.method", "runs.0.iters", "runs.0.seed", "runs.0.samples", "command"),
            *("speeds", "settings.void"),
        ],
    )
    def test_invalid_values_are_named(self, tmp_path, path):
        self.plan(tmp_path, [Run("vit", None, 0, 10, 1)])
        whole = json.loads((tmp_path / "plan.json").read_text())
        whole |= {"command": [], "speeds": {}}
        for wrong in WRONG_VALUES:
            plan = json.loads(json.dumps(whole))
            *way, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
            node = plan
            for key in way:
                node = node[key]
            if wrong in POSSIBLE.get(path, ()):
                continue
            node[last] = wrong
            (tmp_path / "plan.json").write_text(json.dumps(plan))
            with pytest.raises(
                UserError, match=r"plan\.json is damaged or not a plan of this bench"
            ):
                read_plan(str(tmp_path))

    def test_plans_of_former_versions_are_resumed_unchanged(self, tmp_path):
        self.plan(tmp_path, [Run("vit", None, 0, 10, 1)])
        plan = json.loads((tmp_path / "plan.json").read_text())
        for key in ("sizes", "target", "schedule", "search"):
            del plan["settings"][key]
        for key in ("width", "rate", "weight", "begun"):
            del plan["runs"][0][key]
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        old = read_plan(str(tmp_path))
        run = Run("vit", None, 0, 99, 4)
        same = settings(sizes="published", schedule="cosine", search=False)
        assert merge_plans(old, same, DATA, [run])[0] == [Run("vit", None, 0, 10, 1)]
        changed = settings(sizes="params", target=250000.0, schedule="trapezoid", search=True)
        with pytest.raises(UserError, match="sizes was 'published' and is 'params' now"):
            merge_plans(old, changed, DATA, [run])


class TestTeachers:
    """The reference replaces a teacher that is not trained yet, if it is the same network."""

    guided, reference, teacher = (
        Run(name, None, 0, 9, 1) for name in ("vit+guidance", "resnet", TEACHER)
    )

    def test_an_unfinished_teacher_of_an_earlier_command(self):
        wanted, rest = [self.reference, self.guided], [self.teacher]
        assert settle_teachers(settings(), wanted, rest, []) == (wanted, [])
        assert settle_teachers(settings(), wanted, rest, [self.teacher]) == (wanted, rest)

    def test_a_reference_of_an_earlier_command(self):
        wanted, rest = [self.teacher, self.guided], [self.reference]
        assert settle_teachers(settings(), wanted, rest, rest) == ([self.guided], rest)
        assert settle_teachers(settings(), wanted, rest, []) == (wanted, rest)
        # Longer than the students.
        longer = [self.reference.prolonged()]
        assert settle_teachers(settings(), wanted, longer, longer) == (wanted, longer)

    @pytest.mark.parametrize("changes", [dict(budget="minutes"), dict(image_size=64)])
    def test_another_network(self, changes):
        wanted, rest = [self.reference, self.guided], [self.teacher]
        assert settle_teachers(settings(**changes), wanted, rest, []) == (wanted, rest)


@pytest.mark.parametrize(
    ("iters", "trial"), [(199, 0), (200, 40), (499, 99), (500, 100), (1000, 100), (4000, 400)]
)
def test_length_of_a_trial(iters, trial):
    assert trial_steps(iters) == trial
