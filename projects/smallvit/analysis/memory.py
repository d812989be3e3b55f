"""Peak memory of the tensors that a call allocates."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable

import torch

from smallvit.analysis.harness import synchronize


def peak_memory(step: Callable[[], object], device: str) -> float:
    """Measure the additional memory that a step allocates, its result included.

    Only tensors are counted, on a CPU from the allocator's events in a profile: memory of the
    process would depend on what the C library kept of earlier calls. A profile does not record
    that older tensors are freed, so a step on a CPU is measured as if they were kept.

    Args:
        step (Callable): Function to call once.
        device (str): CUDA device or "cpu".

    Returns:
        float: Peak of the allocated memory minus the memory allocated before the step, in MiB.
    """
    if not device.startswith("cuda"):
        return _peak(_allocator_events(step)) / 2**20
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = step()
    synchronize(device)
    del result
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def _allocator_events(step: Callable[[], object]) -> list[dict]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = step()
    del result
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profile.export_chrome_trace(path)
        with open(path) as file:
            events = json.load(file)["traceEvents"]
    return [event for event in events if event.get("name") == "[memory]"]


def _peak(events: Iterable[dict]) -> int:
    sizes: dict[int, int] = {}
    peak = total = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        address, change = event["args"]["Addr"], event["args"]["Bytes"]
        # Tensors of earlier profiles may report that they are freed: they are not in sizes.
        total -= sizes.pop(address, 0)
        if change > 0:
            sizes[address] = change
            total += change
            peak = max(peak, total)
    return peak
