#!/usr/bin/env python
"""Compare the CPU time of two checkouts of this repository, for inference and training steps.

Each checkout runs in its own process, on one thread and the same random images. The processes
alternate, and CPU time is compared, which is less affected by other load than wall time. The models
are those of benchmark_backbones.py and the guided ones of locality guidance.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import positive
from smallvit.cli.run_tool import module_of_checkout

HERE = Path(__file__).resolve().parents[2]
GUIDED = ("deit-ti", "t2t-vit-7", "pit-ti", "pvt-ti", "pvtv2-b0", "convit-ti", "cvt-13")
MODES = ("inference", "training")


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "other", type=Path, help="path of the other checkout, such as from git worktree add"
    )
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="regular expression for names"
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="default: both")
    parser.add_argument("--batch", type=positive, default=2, help="default: 2; 8 times that at 32")
    parser.add_argument("--rounds", type=positive, default=7, help="default: 7")
    parser.add_argument(
        "--seconds", type=float, default=0.2, help="minimum duration of a timing; default: 0.2"
    )
    return parser.parse_args(argv)


def select_models(pattern: str) -> list[tuple[str, str, int]]:
    listed = list(module_of_checkout("benchmark_backbones").ARCHITECTURES)
    listed += [
        (f"{name}, guided", f"locality_guidance/{name}_guided_cifar100.py", 224) for name in GUIDED
    ]
    found = [each for each in listed if re.search(pattern, each[0])]
    if not found:
        raise UserError(f"--only {pattern}: there are {', '.join(each[0] for each in listed)}")
    return found


def step_of(job: dict):
    """Return a function that runs one step of a model of the current checkout."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpretrain.structures import DataSample

    from smallvit.engine.models import build_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    cfg = Config.fromfile(job["config"])
    init_default_scope(cfg.default_scope)
    model = build_model(cfg).train(job["mode"] == "training")
    if guidance := getattr(model, "guidance", None):
        guidance.teacher.loaded = guidance.is_ready = True  # random weights take the same time
    images = torch.randn(job["batch"], 3, job["size"], job["size"])
    samples = [DataSample().set_gt_label(i % 2) for i in range(job["batch"])]

    def infer() -> None:
        with torch.no_grad():
            model(images, mode="tensor")

    def train() -> None:
        model.zero_grad()
        model.parse_losses(model(images, samples, mode="loss"))[0].backward()

    return train if job["mode"] == "training" else infer


def work(requests, out) -> None:
    """Serve requests line by line: prepare a job, or time the current one for an empty request."""
    step, job = None, {}
    for line in requests:
        if asked := json.loads(line):
            step, job = None, asked  # free the previous model first
            step = step_of(job)
            step()
            print(0.0, file=out, flush=True)
            continue
        begun, times = time.process_time(), 0
        while not times or time.process_time() - begun < job["seconds"]:
            step()
            times += 1
        print((time.process_time() - begun) / times, file=out, flush=True)


class Worker:
    """Process that times models of a checkout on request."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        paths = os.pathsep.join([str(checkout / "projects"), str(Path(__file__).parent)])
        command = "import sys, compare_checkouts; compare_checkouts.work(sys.stdin, sys.stdout)"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )

    def build_model(self, job: dict) -> None:
        """Build a model and run it once."""
        self._ask(job | {"config": str(self.checkout / "configs" / job["config"])})

    def time(self) -> float:
        """Return the CPU seconds of a step."""
        return self._ask({})

    def _ask(self, request: dict) -> float:
        print(json.dumps(request), file=self.process.stdin, flush=True)
        for line in self.process.stdout:  # skip output of the libraries
            if re.fullmatch(r"\d+\.\d+(e-\d+)?\n", line):
                return float(line)
        raise UserError(f"{self.checkout} stopped at {request}")

    def close(self) -> None:
        """Terminate the process."""
        self.process.stdin.close()
        self.process.wait()


def compare(workers: list[Worker], job: dict, rounds: int) -> list[tuple[float, ...]]:
    """Return the CPU seconds per step of both checkouts, in alternation."""
    for worker in workers:
        worker.build_model(job)
    found = []
    for turn in range(rounds):
        order = workers if turn % 2 else workers[::-1]
        times = {id(worker): worker.time() for worker in order}
        found.append(tuple(times[id(worker)] for worker in workers))
    return found


def told(rounds: list[tuple[float, ...]]) -> str:
    """Format median and range of the ratios, and the ratio of the minimum times."""
    from smallvit.analysis.benchmark import summarize

    ratios = summarize([ours / theirs for ours, theirs in rounds])
    ours, theirs = (min(times) for times in zip(*rounds, strict=True))
    return f"{ratios['median']:.2f} ({ratios['min']:.2f}-{ratios['max']:.2f}), {ours / theirs:.2f}"


def main(argv=None) -> None:
    args = parse_args(argv)
    if not (args.other / "projects" / "smallvit").is_dir():
        raise UserError(f"{args.other} is not a checkout: it has no projects/smallvit")
    print(
        "CPU time of this checkout over the other's: median of the rounds (least to greatest), and "
        "the ratio of the least times"
    )
    print(f"| model | {' | '.join(args.modes)} |\n|---{'|---' * len(args.modes)}|")
    workers = [Worker(HERE), Worker(args.other.resolve())]
    try:
        for name, config, size in select_models(args.only):
            batch = args.batch * (8 if size == 32 else 1)
            cells = []
            for mode in args.modes:
                job = dict(config=config, size=size, batch=batch, mode=mode, seconds=args.seconds)
                needless = (
                    name.endswith("guided") and mode == "inference"
                )  # same as without guidance
                cells.append("" if needless else told(compare(workers, job, args.rounds)))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    finally:
        for worker in workers:
            worker.close()


if __name__ == "__main__":
    sys.exit(run_tool(main))
