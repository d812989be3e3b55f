"""How many processes the bench has at a time, and what each of them gets of the machine."""

from __future__ import annotations

import os


def make_slots(jobs: int | None, threads: int | None) -> list[dict[str, str]]:
    """Decide how many runs there are at a time, and what each of them gets.

    Args:
        jobs (int | None): How many; None for one on each GPU, or as many as there are
            cores for.
        threads (int | None): Of each run; None for 1 on CPU, for an equal part on GPUs.

    Returns:
        list[dict[str, str]]: Environment of each process.
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
    """Decide how many processes of a run load images.

    Args:
        asked (int | None): How many the user wants.
        digits (bool): Whether the images are the digits.
        jobs (int): Number of concurrent runs.

    Returns:
        int: How many.
    """
    if asked is not None:
        return asked
    # Digits are made faster than a process could hand them over; else what the runs leave free.
    cores = _cores()
    return 0 if digits else max(0, min(4, cores // jobs - 1))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
