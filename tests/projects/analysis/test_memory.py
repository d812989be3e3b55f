import torch

from smallvit.analysis.memory import peak_memory
from smallvit.engine.cpu_memory import keep_freed_memory

MIB = 2**20


def allocate(mebibytes: int) -> torch.Tensor:
    return torch.empty(mebibytes * MIB, dtype=torch.uint8)


def test_freed_memory_is_counted():
    def step():
        allocate(3)
        return allocate(1)

    assert peak_memory(step, "cpu") == 3


def test_tensors_in_use_together_are_added():
    assert peak_memory(lambda: (allocate(3), allocate(1)), "cpu") == 4


def test_older_memory_counts_as_kept():
    kept = [allocate(2)]

    def step():
        kept.clear()
        kept.append(allocate(3))

    assert peak_memory(step, "cpu") == 3


def test_kept_memory_changes_nothing():
    keep_freed_memory()
    allocate(32)
    assert [peak_memory(lambda: allocate(32), "cpu") for _ in range(2)] == [32, 32]
