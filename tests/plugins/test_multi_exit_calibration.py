"""Exit calibration: the published procedure, budgets, temperatures, and storage of thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldens import assert_tensor_close, fill, load_golden
from smallvit.plugins.multi_exit import AccuracyCostCurve, Calibration, CalibrationError, calibrate
from smallvit.plugins.multi_exit.calibration import score_exits
from smallvit.plugins.multi_exit.plots import beaten_by_one_exit, surest_right_and_wrong
from smallvit.plugins.multi_exit.policies import build_policy
from smallvit.plugins.multi_exit.storage import (
    official_calibration,
    read_calibration,
    read_checkpoint,
    to_official,
    write_checkpoint,
)
from smallvit.plugins.multi_exit.thresholds import (
    choose_exits,
    evaluate_exits,
    find_thresholds,
    fit_temperature,
    geometric_shares,
    share_grid,
)
from smallvit.plugins.multi_exit.timing import Point, as_good_alone, fastest_within

FLOPS = [1.0, 2.0, 4.0]


def golden_set(record, name):
    exits, samples, classes = record["shape"]
    part = record["sets"][name]
    logits = fill.make_input(record["shape"], part["seed"])
    labels = np.random.RandomState(part["target_seed"]).randint(0, classes, samples)
    for index in range(exits):
        logits[index, np.arange(samples), labels] += 0.5 + 0.75 * index
    return torch.from_numpy(logits), torch.from_numpy(labels)


@pytest.fixture(scope="module")
def sets():
    record = load_golden("budgeted_batch_seed0")
    return {name: golden_set(record, name) for name in ("calibration", "test")}


def test_budgeted_batch_matches_the_reference(sets):
    record = load_golden("budgeted_batch_seed0")
    judged = {}
    for name, (logits, labels) in sets.items():
        assert_tensor_close(logits.softmax(dim=2), record["sets"][name]["predictions"])
        judged[name] = score_exits(logits, labels)
    for case in record["cases"]:
        shares = geometric_shares(case["p"] / 20, 3)
        np.testing.assert_allclose(shares, case["probs"], rtol=1e-6)
        thresholds = find_thresholds(judged["calibration"][0], shares)
        np.testing.assert_allclose(thresholds[:-1], case["thresholds"][:-1], rtol=1e-6)
        assert thresholds[-1] == case["thresholds"][-1]
        for name, (confidence, correct) in judged.items():
            accuracy, cost, counts = evaluate_exits(
                choose_exits(confidence, thresholds), correct, record["flops"]
            )
            assert counts == case[name]["exit_counts"]
            assert accuracy == pytest.approx(case[name]["accuracy"], abs=1e-9)
            assert cost == pytest.approx(case[name]["expected_flops"], rel=1e-7)


def by_the_definition(confidence, shares):
    """One image at a time, as described in the paper."""
    num_exits, num_images = confidence.shape
    thresholds, gone = [1e8] * num_exits, set()
    for k in range(num_exits - 1):
        wanted = int(np.floor(np.float32(num_images) * np.float32(shares[k])))
        ranked = sorted(
            (i for i in range(num_images) if i not in gone), key=lambda i: -confidence[k, i]
        )
        if 0 < wanted <= len(ranked):
            thresholds[k] = float(confidence[k, ranked[wanted - 1]])
        gone |= {i for i in range(num_images) if confidence[k, i] >= thresholds[k]}
    return [*thresholds[:-1], -1e8]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    num_images=st.integers(1, 30),
    num_exits=st.integers(1, 4),
    p=st.floats(0.05, 3),
    levels=st.integers(2, 1000),
)
def test_vectorised_search_is_the_definition(seed, num_images, num_exits, p, levels):
    rng = np.random.RandomState(seed)
    # Few distinct values, which gives ties.
    confidence = rng.randint(0, levels, (num_exits, num_images)).astype(np.float32) / levels
    shares = geometric_shares(p, num_exits)
    found = find_thresholds(torch.from_numpy(confidence), shares)
    assert found.tolist() == by_the_definition(confidence, shares)


def test_a_sweep_trades_cost_for_accuracy(sets):
    calibration = calibrate(*sets["calibration"], FLOPS)
    curve = calibration.calibration
    assert len(calibration.thresholds) == 59
    assert curve.flops == sorted(curve.flops)
    assert curve.flops[0] < 1.2 < 3.2 < curve.flops[-1]
    assert curve.accuracy[-1] - curve.accuracy[0] > 20
    evaluated = calibration.evaluate(*sets["test"])
    assert np.abs(np.subtract(evaluated.flops, curve.flops)).max() < 0.2
    assert evaluated.num_images == 500


@pytest.mark.parametrize("policy", ["max_softmax", "margin", "entropy"])
def test_direct_budgets(sets, policy):
    logits, labels = sets["calibration"]
    calibration = calibrate(
        logits, labels, FLOPS, policy, max_gflops=[1.5], min_accuracy=[55.0, 60.0]
    )
    assert len(calibration.thresholds) == 62
    confidence, correct = score_exits(logits, labels, policy)

    def given_by(**asked):
        exits = choose_exits(confidence, calibration.select_thresholds(**asked))
        return evaluate_exits(exits, correct, FLOPS)

    accuracy, cost, _ = given_by(max_gflops=1.5)
    assert 1.45 < cost <= 1.5
    assert accuracy > 25
    for target in (55.0, 60.0):
        reached, cost, _ = given_by(min_accuracy=target)
        assert reached >= target
        cheaper = [
            point
            for point in zip(
                calibration.calibration.accuracy, calibration.calibration.flops, strict=True
            )
            if point[0] >= target and point[1] < cost
        ]
        assert not cheaper


@given(num_exits=st.integers(2, 9), limit=st.integers(30, 500))
def test_the_grid_contains_all_shares(num_exits, limit):
    grid = torch.stack(share_grid(num_exits, limit))
    assert num_exits <= len(grid) <= limit
    assert (grid >= 0).all()
    assert torch.allclose(grid.sum(dim=1), torch.ones(len(grid)))
    assert len(grid.unique(dim=0)) == len(grid)
    alone = {tuple(row) for row in torch.eye(num_exits).tolist()}
    assert alone <= {tuple(row) for row in grid.tolist()}


def test_the_search_is_at_least_as_accurate_as_the_rule(sets):
    rule, search = (
        calibrate(*sets["calibration"], FLOPS, rule=name).calibration
        for name in ("geometric", "search")
    )
    assert search.flops == sorted(set(search.flops))
    assert search.accuracy == sorted(set(search.accuracy))
    assert min(search.flops) == FLOPS[0]
    asked = calibrate(*sets["calibration"], FLOPS, rule="search", max_gflops=[2.0])
    assert asked.calibration == search  # the search contains the best thresholds of a budget
    for accuracy, cost in zip(rule.accuracy, rule.flops, strict=True):
        within = [a for a, c in zip(search.accuracy, search.flops, strict=True) if c <= cost + 0.02]
        assert max(within) >= accuracy - 0.5  # the grid has steps of 2% of the images


@pytest.mark.parametrize("seed", range(3))
def test_the_search_avoids_an_exit_that_guesses(sets, seed):
    """With the paper's rule, images leave at every exit."""
    logits, labels = sets["calibration"]
    noise = torch.randn(logits[0].shape, generator=torch.Generator().manual_seed(seed))
    guessing = torch.stack([9 * noise, *logits[1:]])
    asked = dict(max_gflops=[2.5])
    confidence, correct = score_exits(guessing, labels)
    found = []
    for settings_ in ({}, asked, {"rule": "search", **asked}):
        row = calibrate(guessing, labels, FLOPS, **settings_).select_thresholds(max_gflops=2.5)
        found.append(evaluate_exits(choose_exits(confidence, row), correct, FLOPS))
    by_rule, by_budget, by_search = found
    assert by_budget[0] == by_search[0] > by_rule[0] + 4
    assert by_rule[2][0] > 0.2 * len(labels)
    assert by_search[2][0] < 0.1 * len(labels)


def test_impossible_budgets_are_refused(sets):
    calibration = calibrate(*sets["calibration"], FLOPS)
    with pytest.raises(CalibrationError, match=r"0\.5 GFLOPs.*below the cost of the first exit, 1"):
        calibration.select_thresholds(max_gflops=0.5)
    with pytest.raises(CalibrationError, match=r"no thresholds reach.*99%.*best reach \d\d"):
        calibration.select_thresholds(min_accuracy=99)
    for fraction in (0.79, 1.0, 101):
        with pytest.raises(CalibrationError, match="in percent"):
            calibration.select_thresholds(min_accuracy=fraction)
    with pytest.raises(CalibrationError, match="either max_gflops or min_accuracy"):
        calibration.select_thresholds()
    with pytest.raises(CalibrationError, match="below the cost of the first exit"):
        calibrate(*sets["calibration"], FLOPS, max_gflops=[0.9])
    with pytest.raises(CalibrationError, match="unknown rule 'best'; expected one of geometric"):
        calibrate(*sets["calibration"], FLOPS, rule="best")
    with pytest.raises(CalibrationError, match="flops of 3 exits as in the logits, got 2"):
        calibrate(*sets["calibration"], FLOPS[:2])
    with pytest.raises(CalibrationError, match="for 3 exits, but the model has 2"):
        calibration.evaluate(torch.zeros(2, 4, 10), torch.zeros(4, dtype=torch.long))


def test_temperature_minimizes_the_cross_entropy():
    torch.manual_seed(0)
    calibrated = torch.randn(4000, 6)
    labels = torch.distributions.Categorical(logits=calibrated).sample()
    for factor in (0.3, 1.0, 4.0, 20.0):
        assert fit_temperature(calibrated * factor, labels) == pytest.approx(factor, rel=0.1)


def test_temperature_is_stored_and_used(sets):
    logits, labels = sets["calibration"]
    calibration = calibrate(logits * 5, labels, FLOPS, with_temperature=True)
    # Gaussian logits with unit variance and a margin are calibrated when multiplied by the margin.
    first, *later = calibration.temperatures
    np.testing.assert_allclose(later, [5 / 1.25, 5 / 2.0], rtol=0.15)
    assert first > 2 * later[0]
    again = Calibration.from_dict(calibration.to_dict()).evaluate(logits * 5, labels)
    assert again == calibration.calibration


@pytest.mark.parametrize(
    ("name", "probabilities", "expected"),
    [
        ("max_softmax", [0.7, 0.2, 0.1], 0.7),
        ("margin", [0.7, 0.2, 0.1], 0.5),
        ("entropy", [1.0, 0.0, 0.0], 1.0),
        ("entropy", [1 / 3, 1 / 3, 1 / 3], 0.0),
        ("entropy", [0.5, 0.5, 0.0], 1 - np.log(2) / np.log(3)),
    ],
)
def test_policies(name, probabilities, expected):
    logits = torch.tensor([probabilities]).log()
    assert build_policy(name)(logits).item() == pytest.approx(expected, abs=1e-6)


def test_unknown_policy():
    with pytest.raises(ValueError, match=r"max_softmax, margin, entropy.*'variance'"):
        build_policy("variance")


def test_checkpoint_layout(sets, tmp_path):
    calibration = calibrate(*sets["calibration"], FLOPS)
    calibration.evaluation = calibration.evaluate(*sets["test"])
    path = tmp_path / "a.pth"
    write_checkpoint(dict(state_dict={}, multi_exit=calibration.to_dict()), path)
    stored = read_checkpoint(path)
    assert set(stored["multi_exit"]) == {
        "version",
        "policy",
        "temperatures",
        "flops",
        "thresholds",
        "calibration",
        "evaluation",
    }
    assert read_calibration(stored) == calibration
    assert [each.name for each in tmp_path.iterdir()] == ["a.pth"]


def test_bad_layouts():
    with pytest.raises(CalibrationError, match=r"x\.pth has neither FLOPs.*calibrate\.py"):
        read_calibration(dict(state_dict={}), "x.pth")
    with pytest.raises(CalibrationError, match="layout version 1, got 2"):
        read_calibration(dict(multi_exit=dict(version=2)))
    with pytest.raises(CalibrationError, match="lacks flops"):
        read_calibration(dict(multi_exit=dict(version=1, thresholds=[])))
    with pytest.raises(CalibrationError, match="thresholds for 3 exits as in flops"):
        Calibration(FLOPS, [[0.5, -1e8]])


@pytest.mark.parametrize(
    "policy",
    [
        dict(type="os.system", command="x"),
        dict(type="this"),
        dict(type="smallvit.Margin", more=1),
        dict(type=["margin"]),
        "os.system",
        ["margin"],
        None,
        0,
    ],
)
def test_a_stored_policy_is_a_name_of_the_closed_table(policy, monkeypatch):
    from smallvit.registry import MODELS

    monkeypatch.setattr(MODELS, "build", lambda *args, **kwargs: pytest.fail("built"))
    stored = dict(version=1, flops=FLOPS, thresholds=[[0.5, 0.5, -1e8]], policy=policy)
    with pytest.raises(CalibrationError, match=r"expected an exit policy of .* in the calibration"):
        read_calibration(dict(multi_exit=stored))


def test_the_name_of_a_policy_is_stored(sets):
    named = calibrate(*sets["calibration"], FLOPS, policy=dict(type="smallvit.Margin"))
    assert named.to_dict()["policy"] == "margin"
    assert Calibration.from_dict(named.to_dict()).policy == "margin"
    unnamed = Calibration(FLOPS, [], policy=dict(type="smallvit.Margin", more=1))
    with pytest.raises(CalibrationError, match="add yours to"):
        unnamed.to_dict()


def test_official_entries_are_read_and_written(monkeypatch, sets):
    official = dict(
        model_state_dict={},
        flops=FLOPS,
        anytime_classification=[50.0, 60.0, 70.0],
        dynamic_threshold=torch.tensor([[0.5, 0.25, -1e8], [0.75, 0.5, -1e8]]),
        budgeted_batch_classification=[[1.5, 2.5], [55.0, 65.0]],
    )
    calibration = official_calibration(official)
    assert calibration.thresholds == [[0.5, 0.25, -1e8], [0.75, 0.5, -1e8]]
    assert calibration.evaluation == AccuracyCostCurve([50.0, 60.0, 70.0], [55.0, 65.0], [1.5, 2.5])
    assert calibration.select_thresholds(max_gflops=2) == [0.5, 0.25, -1e8]

    from smallvit.plugins.multi_exit import storage

    weight = {"backbone.x": torch.ones(1)}
    monkeypatch.setattr(
        storage, "revert", lambda system, state: {"official.x": state["backbone.x"]}
    )
    written = to_official(dict(state_dict=weight, multi_exit=calibration.to_dict()))
    assert list(written.pop("model_state_dict")) == ["official.x"]
    assert torch.equal(written.pop("dynamic_threshold"), official["dynamic_threshold"])
    assert written == {
        key: official[key]
        for key in ("flops", "anytime_classification", "budgeted_batch_classification")
    }
    other = calibrate(*sets["calibration"], FLOPS, policy="margin")
    with pytest.raises(CalibrationError, match="largest probability"):
        to_official(dict(state_dict=weight, multi_exit=other.to_dict()))


def test_most_confident_right_and_wrong_images():
    # Images 0 to 3 are of class 0: correct at the first exit with high confidence, correct at the
    # first exit with low confidence, correct at the last exit, never correct.
    confidence = torch.tensor([[0.9, 0.6, 0.6, 0.9, 0.8], [0.9, 0.9, 0.9, 0.9, 0.8]])
    correct = torch.tensor([[True, True, False, False, True], [True, True, True, False, True]])
    chosen = surest_right_and_wrong(confidence, correct, torch.tensor([0, 0, 0, 0, 1]), 2)
    assert chosen == {0: ([0, 1], [3, 2]), 1: ([4], [])}


def test_the_fastest_point_that_is_accurate_enough():
    def point(name, accuracy, speed, row=None):
        return Point(name, accuracy, 1.0, speed, 1.0, (1.0, 1.0), [], 1.0, row)

    points = [
        point("exit 0", 70, 900),
        point("exit 1", 80, 100),
        point("budgeted 0", 78, 500, [0.5, -1e8]),
        point("budgeted 1", 79.6, 300, [0.7, -1e8]),
        point("budgeted 2", 80.1, 200, [0.9, -1e8]),
    ]
    assert fastest_within(points, 0.5).name == "budgeted 1"
    assert fastest_within(points, 2).name == "budgeted 0"
    assert fastest_within(points[:3], 0.5) is None
    assert as_good_alone(points, points[3]) is None
    better = point("exit 0", 79.6, 310)
    assert as_good_alone([better, *points[1:]], points[3]) is better


def test_points_dominated_by_one_exit_are_reported():
    beaten = beaten_by_one_exit([1.0, 1.5, 2.0], [70, 74, 81], [1.0, 2.0], [75, 81])
    assert beaten.tolist() == [True, True, False]
