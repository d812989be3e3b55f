"""Compare the optimizer step time of configs with one parameter group per parameter.

    python tools/analysis_tools/benchmark_optimizer.py configs/dhvt/dhvt-t_in1k.py --threads 1

Gradients are random. The two optimizers alternate; results are the median CPU time of a step, which
is robust to other load, and the number of parameter groups.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from statistics import median

from smallvit.cli import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the optimizer steps of configs.")
    parser.add_argument("configs", nargs="+", help="config files")
    parser.add_argument(
        "--steps", type=int, default=15, help="steps of each optimizer; default: 15"
    )
    parser.add_argument("--threads", type=int, help="threads of torch; default: all cores")
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f"--steps {args.steps}: must be at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{'config':<44} {'groups':>12} {'ms/step':>16} {'ratio':>6}")
    for path in args.configs:
        (merged, single), times = measure(path, args.steps)
        print(
            f"{path:<44} {merged:>5} {single:>6} {times[0]:>8.1f} {times[1]:>7.1f} "
            f"{times[1] / times[0]:>6.2f}"
        )


def measure(path: str, steps: int) -> tuple[list[int], list[float]]:
    """Time the optimizer of a config and its unmerged version in alternation.

    Args:
        path (str): Config file.
        steps (int): Number of steps of each.

    Returns:
        tuple[list[int], list[float]]: Number of groups, and median CPU time of a step in
        milliseconds, of the merged and the unmerged optimizer.
    """
    import torch
    from mmengine.logging import MMLogger
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import DefaultScope

    from smallvit.engine.models import build_model
    from smallvit.engine.pipeline import resolve

    # MMEngine logs one line per parameter.
    MMLogger.get_instance("mmengine").setLevel(logging.WARNING)
    cfg = resolve(path)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
        models = [build_model(cfg)]
        models.append(deepcopy(models[0]))
        optimizers = []
        for model, kind in zip(
            models,
            ("smallvit.MergedGroupsConstructor", "DefaultOptimWrapperConstructor"),
            strict=True,
        ):
            wrapper = deepcopy(cfg.optim_wrapper)
            wrapper["constructor"] = kind
            optimizers.append(build_optim_wrapper(model, wrapper).optimizer)
    for parameters in zip(*(model.parameters() for model in models), strict=True):
        gradient = torch.randn_like(parameters[0])
        for parameter in parameters:
            parameter.grad = gradient.clone() if parameter.requires_grad else None
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(steps + 1):
        for optimizer, spent in zip(optimizers, times, strict=True):
            start = time.process_time()
            optimizer.step()
            spent.append(1e3 * (time.process_time() - start))
    # The first step creates the optimizer state.
    return [len(o.param_groups) for o in optimizers], [median(spent[1:]) for spent in times]


if __name__ == "__main__":
    sys.exit(run_tool(main))
