from types import SimpleNamespace

import pytest

from smallvit.bench.methods import parse_method
from smallvit.bench.results import FAILURE
from smallvit.bench.settings import Run
from smallvit.bench.user_configs import config_digests
from smallvit.errors import UserError


@pytest.fixture
def bench(tmp_path):
    """A bench that has begun to train a config file."""
    path = tmp_path / "net.py"
    path.write_text("model = dict(depth=1)")
    method = parse_method(f"{path}+shortcut")
    run = Run(method.name, None, 0, 1, 1)
    old = {"runs": [run], "configs": config_digests([method], None, str(tmp_path))}
    folder = tmp_path / run.folder("")
    folder.mkdir(parents=True)
    digests = lambda: config_digests([method], old, str(tmp_path))  # noqa: E731
    return SimpleNamespace(path=path, folder=folder, old=old, digests=digests)


def test_the_same_model_in_other_words_is_kept(bench):
    bench.path.write_text("depth = 1\nmodel = dict(depth=depth)\nepochs = 3")
    assert bench.digests() == bench.old["configs"]


@pytest.mark.parametrize("model", ["dict(act=lambda x: x)", "dict(weights={0: 1.0, 'a': 2.0})"])
def test_the_same_file_is_the_same_model(bench, model):
    bench.path.write_text(f"model = {model}")
    del bench.old["configs"]
    first = bench.digests()
    assert bench.digests() == first


def test_a_changed_model_is_refused(bench):
    bench.path.write_text("model = dict(depth=2)")
    with pytest.raises(UserError, match=r"net\.py has changed .* another --out"):
        bench.digests()


def test_a_config_is_mended_after_its_runs_failed(bench):
    (bench.folder / FAILURE).write_text("{}")
    bench.path.write_text("model = dict(depth=2)")
    assert bench.digests() != bench.old["configs"]


def test_plans_of_earlier_versions_and_other_methods(bench, tmp_path):
    del bench.old["configs"]
    assert list(bench.digests()) == [str(bench.path)]
    known = {"configs": {"gone.py": "abc"}, "runs": []}
    assert config_digests([parse_method("vit")], known, str(tmp_path)) == {"gone.py": "abc"}


def test_a_config_that_does_not_parse_is_named(bench):
    bench.path.write_text("model = (")
    with pytest.raises(UserError, match=r"net\.py, line 1: not valid Python"):
        bench.digests()
