"""Settings for the whole suite."""

import gc
import os
import re
import sys
from collections import Counter
from functools import cache

import pytest
from hypothesis import register_random, settings

import smallvit  # noqa: F401  # before a test imports mmcv, whose ops the import bridges

# Several processes share the cores of a test machine; one thread each is fastest there.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run: a failure is of the change at hand. The hunt for others is
# --hypothesis-profile=explore; what it finds stays as @example. Machines differ in speed.
settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("repeat")


class TorchRandom:
    """What hypothesis seeds and restores; it holds it weakly."""


TORCH_RANDOM = TorchRandom()


@pytest.fixture(autouse=True, scope="session")
def torch_settings():
    """One thread: the reference numbers were computed with one. Hypothesis seeds torch too."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    # The engine of autograd begins here: one that begins after a compilation has threads, with
    # which no child that a test forks can train.
    torch.ones(1, requires_grad=True).sum().backward()
    TORCH_RANDOM.seed = torch.manual_seed
    TORCH_RANDOM.getstate, TORCH_RANDOM.setstate = torch.get_rng_state, torch.set_rng_state
    register_random(TORCH_RANDOM)


@pytest.fixture(autouse=True, scope="session")
def quick_records():
    """What MMEngine writes down about a run takes longer than the trainings here.

    It formats the text of the config with yapf, at each checkpoint: the text means the same
    without. It asks compilers for their versions, at each run: they are asked once. Tools in
    processes of their own do both.
    """
    from mmengine.config import config
    from mmengine.runner import runner
    from yapf.yapflib import yapf_api

    environment = cache(runner.collect_env)
    with pytest.MonkeyPatch.context() as patch:
        # The onedl fork imports it where it is called.
        for module in (yapf_api, config):
            patch.setattr(module, "FormatCode", lambda text, **_: (text, True), raising=False)
        patch.setattr(runner, "collect_env", lambda: dict(environment()))
        yield


#: Modules after whose import what is in memory counts as imported.
MANY_MODULES = 50
_modules = 0


@pytest.fixture(autouse=True)
def frozen_imports():
    """Keep what was imported out of garbage collections, of which MMEngine makes one after each
    data set: it would go through all of that, a second each time.
    """
    global _modules
    if len(sys.modules) - _modules >= MANY_MODULES:
        _modules = len(sys.modules)
        gc.collect()
        gc.freeze()


#: Markers of tests that are left out unless ``-m`` names them.
ON_REQUEST = ("exhaustive", "gpu")


def is_asked_for(config, marker):
    return re.search(rf"(?<!not )\b{marker}\b", config.option.markexpr) is not None


def pytest_configure(config):
    """Hide GPUs from a run that is not about them.

    The tests are about the CPU, which a tool would not choose beside a GPU, and some fork, which
    CUDA does not survive once it is in use. What they start inherits the variable.
    """
    if not is_asked_for(config, "gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config, items):
    """Leave out what is run on request alone, and skip what needs a GPU where there is none."""
    absent = [marker for marker in ON_REQUEST if not is_asked_for(config, marker)]
    kept, left_out = [], []
    for item in items:
        (left_out if any(map(item.get_closest_marker, absent)) else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
    _begin_with_long_files(items)
    for item in items:
        if item.get_closest_marker("gpu") and not sees_gpu():
            item.add_marker(pytest.mark.skip(reason="torch sees no GPU"))


def _begin_with_long_files(items):
    """Sort the files by their slow tests, then by all, so that no process ends with a long one.

    A file of a few slow tests would come last in pytest-xdist's own order, and leave the other
    processes idle.
    """
    slow, size = Counter(), Counter()
    for item in items:
        size[item.path] += 1
        slow[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: (-slow[item.path], -size[item.path]))


@cache
def sees_gpu():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def no_default_scope():
    """A runner of an earlier test leaves its library's scope as the default of the process."""
    yield
    registry = sys.modules.get("mmengine.registry")
    if registry is not None:
        registry.DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_loggers():
    """MMEngine's loggers write to where the test that made them was captured, and the newest one
    is what others log to.
    """
    yield
    logging = sys.modules.get("mmengine.logging")
    if logging is not None:
        logging.MMLogger._instance_dict.clear()


@pytest.fixture(scope="session")
def digit_scenes(tmp_path_factory):
    """Eight training and two validation scenes of digits, in both layouts."""
    from smallvit.datasets.digit_scenes import SceneSettings, write_digit_scenes

    out = tmp_path_factory.mktemp("data") / "digit_scenes"
    write_digit_scenes(out, SceneSettings(num_train=8, num_val=2, size=64, digits_per_scene=(1, 3)))
    return out
