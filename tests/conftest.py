"""Suite-wide fixtures and collection hooks."""

import gc
import os
import re
import sys
from collections import Counter
from functools import cache

import pytest
from hypothesis import register_random, settings

import smallvit  # noqa: F401  # before a test imports mmcv: the import of smallvit provides its ops

# Several processes share the cores of a test machine, so one thread per process is the fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every run uses the same examples, so that a failure is caused by the change being tested. Search
# for new ones with --hypothesis-profile=explore and keep its findings as @example. No deadline,
# because machines differ in speed.
settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("repeat")


class TorchRandom:
    """Lets Hypothesis seed and restore torch; Hypothesis only keeps a weak reference to it."""


TORCH_RANDOM = TorchRandom()


@pytest.fixture(autouse=True, scope="session")
def torch_settings():
    """Set the number of threads, and let Hypothesis seed torch.

    The reference numbers were computed with one thread.
    """
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    # Start the autograd engine now: if it starts after a compilation, it has threads that do not
    # survive a fork, and forked children cannot train.
    torch.ones(1, requires_grad=True).sum().backward()
    TORCH_RANDOM.seed = torch.manual_seed
    TORCH_RANDOM.getstate, TORCH_RANDOM.setstate = torch.get_rng_state, torch.set_rng_state
    register_random(TORCH_RANDOM)


@pytest.fixture(autouse=True, scope="session")
def quick_records():
    """Skip the run metadata that MMEngine collects, which takes longer than the training itself.

    The config is dumped without yapf formatting, which is slow and repeated at each checkpoint. The
    compiler versions, normally collected in each run, are collected once. Tools that run in their
    own processes do both as usual.
    """
    from mmengine.config import config
    from mmengine.runner import runner
    from yapf.yapflib import yapf_api

    environment = cache(runner.collect_env)
    with pytest.MonkeyPatch.context() as patch:
        # The onedl fork imports it at the place of the call.
        for module in (yapf_api, config):
            patch.setattr(module, "FormatCode", lambda text, **_: (text, True), raising=False)
        patch.setattr(runner, "collect_env", lambda: dict(environment()))
        yield


#: Number of newly imported modules after which ``frozen_imports`` freezes the garbage collector.
MANY_MODULES = 50
_modules = 0


@pytest.fixture(autouse=True)
def frozen_imports():
    """Exclude imported objects from garbage collection.

    MMEngine runs a full collection after each dataset, which would take about a second each time.
    """
    global _modules
    if len(sys.modules) - _modules >= MANY_MODULES:
        _modules = len(sys.modules)
        gc.collect()
        gc.freeze()


#: Markers of tests that only run if ``-m`` names them.
ON_REQUEST = ("exhaustive", "gpu")


def is_asked_for(config, marker):
    return re.search(rf"(?<!not )\b{marker}\b", config.option.markexpr) is not None


def pytest_configure(config):
    """Hide GPUs unless GPU tests are requested.

    The tests expect the CPU, but tools prefer a GPU if there is one. Some tests fork, which does
    not work once CUDA is initialized. Child processes inherit the variable.
    """
    if not is_asked_for(config, "gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(config, items):
    """Deselect tests that only run on request, and skip GPU tests if there is no GPU."""
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
    """Run files with the most slow tests first, then the largest, to balance the worker processes.

    In the default order of pytest-xdist, a file with a few slow tests can come last and leave the
    other workers idle.
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
    """Reset the default scope, which a runner of an earlier test may have set."""
    yield
    registry = sys.modules.get("mmengine.registry")
    if registry is not None:
        registry.DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_loggers():
    """Remove MMEngine's loggers, which write to the captured output of the test that created them.

    Other tests would log to the most recent one.
    """
    yield
    logging = sys.modules.get("mmengine.logging")
    if logging is not None:
        logging.MMLogger._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_visualizers():
    """Remove MMEngine's visualizers, which later runs of the same name would reuse.

    They would write to the folder of an earlier test, which has been removed.
    """
    yield
    visualization = sys.modules.get("mmengine.visualization")
    kinds = [visualization.Visualizer] if visualization is not None else []
    for kind in kinds:
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


@pytest.fixture(scope="session")
def digit_scenes(tmp_path_factory):
    """Eight training and two validation scenes of digits, in COCO and label-map layout."""
    from smallvit.datasets.digit_scenes import SceneSettings, write_digit_scenes

    out = tmp_path_factory.mktemp("data") / "digit_scenes"
    write_digit_scenes(out, SceneSettings(num_train=8, num_val=2, size=64, digits_per_scene=(1, 3)))
    return out
