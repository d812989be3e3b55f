import pytest

from smallvit.utils.spelling import closest_name, edit_distance


@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [
        *(("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "xbc", 1)),
        *(("abc", "bc", 1), ("abc", "abxc", 1), ("kitten", "sitting", 3), ("abcd", "badc", 2)),
    ],
)
def test_edit_distance(one, two, distance):
    assert edit_distance(one, two) == edit_distance(two, one) == distance


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("optim_wraper", "optim_wrapper"), ("intervall", "interval"), ("Interval", "interval")),
        *(("max_epoch", "max_epochs"), ("save_bset", "save_best"), ("batchsize", "batch_size")),
        *(("param_schedular", "param_scheduler"), ("max-epochs", "max_epochs")),
    ],
)
def test_near_misses(name, meant):
    known = ("interval", "optim_wrapper", "max_epochs", "save_best", "batch_size", "lr")
    assert closest_name(name, [*known, "param_scheduler"]) == meant


@pytest.mark.parametrize(
    "name", ["lr", "lrs", "rl", "train_pipeline", "data_root2", "epochs", "test_cfg", "mean"]
)
def test_others_are_left_alone(name):
    assert closest_name(name, ["lr", "tta_pipeline", "data_root", "max_epochs", "test_cfg"]) is None
