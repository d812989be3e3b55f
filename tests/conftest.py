"""Settings for the whole suite."""

import os

import pytest

# Several processes share the cores of a test machine; one thread each is fastest there.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def torch_threads():
    """One thread: the reference numbers were computed with one."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
