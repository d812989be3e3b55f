"""Number of concurrent processes of the bench, and their devices and threads."""

from __future__ import annotations

import os


def make_slots(jobs: int | None, threads: int | None) -> list[dict[str, str]]:
    """Choose the number of concurrent runs, and their devices and threads.

    Args:
        jobs (int | None): Number of concurrent runs; None for one per GPU, or as many as
            the cores allow.
        threads (int | None): Threads per run; None for 1 on CPU, or an equal share with GPUs.

    Returns:
        list[dict[str, str]]: Environment variables of each process.
    """
    import torch

    gpus = torch.cuda.device_count()
    cores = _cores()
    if gpus:
        jobs = jobs or gpus
        share = str(threads or max(1, cores // jobs))
        return [
            {"OMP_NUM_THREADS": share, "CUDA_VISIBLE_DEVICES": _device(slot % gpus)}
            for slot in range(jobs)
        ]
    threads = threads or 1
    return [{"OMP_NUM_THREADS": str(threads)} for _ in range(jobs or max(1, cores // threads))]


def _device(index: int) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[index] if visible else str(index)


def loading_processes(asked: int | None, digits: bool, jobs: int) -> int:
    """Choose the number of data loader workers per run.

    Args:
        asked (int | None): Number given by the user, or None.
        digits (bool): Whether the dataset is ``digits``.
        jobs (int): Number of concurrent runs.

    Returns:
        int: Number of workers.
    """
    if asked is not None:
        return asked
    # Digits are generated faster than workers could transfer them; otherwise use idle cores.
    cores = _cores()
    return 0 if digits else max(0, min(4, cores // jobs - 1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
