"""Rows of measure_gpu.py: the commands of each row and the numbers read from their output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallvit.cli.run_tool import module_of_checkout

TOOLS = Path(__file__).resolve().parents[1]
CONFIGS = TOOLS.parent / "configs"
Found = list[tuple[str, str]]


@dataclass
class Bench:
    """Environment of the rows.

    Args:
        device (str): "cuda", or "cpu" for a dry run.
        toy (bool): Whether to use toy sizes.
        folder (Path): Folder for data and work directories.
        deadline (float): End time on the clock of ``time.monotonic``.
    """

    device: str
    toy: bool
    folder: Path
    deadline: float

    def seconds_left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.monotonic()

    def pick(self, full: Any, toy: Any) -> Any:
        """Return the size for the GPU or for the dry run."""
        return toy if self.toy else full

    def run(self, *command: object) -> str:
        """Run a tool in a subprocess.

        Args:
            *command (object): The file under ``tools/`` and its arguments.

        Returns:
            str: Its output.

        Raises:
            RuntimeError: If it failed, with its last line, or exceeded the deadline.
        """
        tool, *arguments = map(str, command)
        start = ["bash"] if tool.endswith(".sh") else [sys.executable]
        environment = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS="1")
        try:
            done = subprocess.run(
                [*start, str(TOOLS / tool), *arguments],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=max(self.seconds_left(), 1),
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{tool} was stopped at the deadline") from None
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise RuntimeError(f"{tool} exited with {done.returncode}: {lines[-1]}")
        return done.stdout

    def train(self, config: str, name: str, *flags: object, tool: str = "train.py") -> Path:
        """Train a config of the repository.

        Args:
            config (str): Path relative to ``configs/``.
            name (str): Name of its work directory.
            *flags (object): Flags of train.py, with ``--cfg-options`` last.
            tool (str): The tool. Defaults to "train.py".

        Returns:
            Path: Work directory.
        """
        work_dir = self.folder / name
        count = [1] if tool.endswith(".sh") else []
        self.run(tool, CONFIGS / config, *count, "--work-dir", work_dir, *flags)
        return work_dir


def scalars(work_dir: Path, key: str) -> list[dict]:
    """Read the log entries of a run that contain a key, oldest first."""
    files = sorted(work_dir.glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for line in files[-1].read_text().splitlines()]
    return [line for line in lines if key in line]


def draw_folder(folder: Path, size: int, count: int) -> Path:
    """Write random smooth images of ten classes to ``train/`` and ``val/``."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    for number in range(count):
        for split in ("train", "val") if number < 20 else ("train",):
            path = folder / split / f"class{number % 10}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(path), cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC))
    return folder


def throughput(work_dir: Path, batch: int) -> Found:
    """Compute images/s and the fraction of data waiting time from the end of a training log."""
    last = scalars(work_dir, "time")[-1]
    share = 100 * last["data_time"] / last["time"]
    return [
        ("train.py, images/s", f"{batch / last['time']:.0f}"),
        ("of a step spent waiting for data", f"{share:.0f}%"),
    ]


def train_row(bench: Bench, config: str, size: int, batch: int, images: int) -> Found:
    """Compare train.py with the network alone."""
    batch, images = bench.pick(batch, 2), bench.pick(images, 10)
    data = draw_folder(bench.folder / f"images{size}", size, images)
    options = (
        f"data_root={data}",
        "train_cfg.max_epochs=6",  # five warm-up epochs
        f"train_dataloader.batch_size={batch}",
        f"train_dataloader.num_workers={bench.pick(8, 0)}",
        *bench.pick((), ("train_dataloader.persistent_workers=False",)),
        "default_hooks.logger.interval=2",
    )
    flags = ("--amp", "--no-validate", "--cfg-options", *options)
    found = throughput(bench.train(config, f"train{size}", *flags), batch)
    out = bench.folder / f"alone{size}.json"
    shape = ("--shape", size, size, "--batch-size", batch, "--repeats", bench.pick(5, 1))
    flags = ("--mode", "train", "--amp", *shape, "--device", bench.device, "--seconds", 0.2)
    bench.run("analysis_tools/benchmark.py", CONFIGS / config, *flags, "--json", out)
    (model,) = json.loads(out.read_text())["results"][0]["models"].values()
    return [*found, ("the network alone, images/s", f"{model['images_per_second']:.0f}")]


def train_small(bench: Bench) -> Found:
    """Measure training at 32x32."""
    return train_row(bench, "dhvt/dhvt-t_small-images_folder.py", 32, 512, 16384)


def train_large(bench: Bench) -> Found:
    """Measure training at 224x224."""
    return train_row(bench, "dhvt/dhvt-t_folder.py", 224, 128, 4096)


def guidance(bench: Bench) -> Found:
    """Compare a guided step with a plain one, online and with stored features."""
    room = "locality_guidance"
    epochs = ("--no-validate", "--cfg-options", "train_cfg.max_epochs=1")
    teacher = bench.train(f"{room}/resnet-20_digits.py", "teacher", *epochs) / "epoch_1.pth"
    store, out = bench.folder / "store", bench.folder / "guidance.json"
    network = CONFIGS / room / "resnet-20_digits.py"
    bench.run(f"{room}/precompute.py", network, teacher, "--out", store)
    # The tool applies one set of options to all configs, so differences go into files.
    paths = []
    for name, model in (
        ("dw_shortcut/vit-mini_digits", ""),
        (f"{room}/vit-mini_guided_digits", f"teacher=dict(checkpoint={str(teacher)!r})"),
        (f"{room}/vit-mini_guided-offline_digits", f"store={str(store)!r}"),
    ):
        path = bench.folder / f"{name.rpartition('/')[2]}.py"
        guided = f"model = dict(guidance=dict({model}))\n" if model else ""
        path.write_text(f"_base_ = {str(CONFIGS / name) + '.py'!r}\n{guided}")
        paths.append(path)
    steps = ("--steps", bench.pick(60, 2), "--warm-up", bench.pick(10, 1))
    bench.run(f"{room}/benchmark.py", *paths, *steps, "--json", out)
    models = list(json.loads(out.read_text())["models"].values())
    named = zip(("with the teacher", "from the store"), models[1:], strict=True)
    return [(f"step over a plain one, {how}", f"{each['ratio']:.2f}") for how, each in named]


DIGITS = ("train_cfg.max_epochs=2", "train_dataloader.dataset.samples_per_class=8")


def digits(bench: Bench) -> tuple:
    """Return options for training on the digits."""
    return bench.pick(DIGITS[:1], DIGITS)


def float16(bench: Bench) -> Found:
    """Train in float16 with MMEngine's loss scaler."""
    options = (*digits(bench), "optim_wrapper.type=AmpOptimWrapper")
    work_dir = bench.train("dwnet/dwnet-mini_digits.py", "float16", "--cfg-options", *options)
    losses = [line["loss"] for line in scalars(work_dir, "loss")]
    return [("loss, first and last", f"{losses[0]:.3f}, {losses[-1]:.3f}")]


def resume(bench: Bench) -> Found:
    """Compare two epochs in one run with a resumed run."""
    import torch

    config, options = "dwnet/dwnet-mini_digits.py", digits(bench)
    every = "default_hooks.checkpoint.interval=1"
    whole = bench.train(config, "whole", "--cfg-options", *options, every)
    half = bench.train(config, "half", "--cfg-options", *options, every)
    (half / "epoch_2.pth").unlink()
    bench.train(config, "half", "--resume", half / "epoch_1.pth", "--cfg-options", *options, every)
    first, second = (
        torch.load(each / "epoch_2.pth", map_location="cpu", weights_only=True)["state_dict"]
        for each in (whole, half)
    )
    equal = all(torch.equal(value, second[key]) for key, value in first.items())
    return [("weights after a resume", "equal to the bit" if equal else "they differ")]


def dense(bench: Bench, config: str, options: tuple) -> Found:
    """Train a detector or segmentor on scenes of digits with --amp."""
    scenes = bench.folder / "data" / "digit_scenes"
    if not scenes.exists():
        count = bench.pick((), ("--num-train", 4, "--num-val", 2))
        bench.run("dataset_converters/digit_scenes.py", scenes, *count)
    flags = ("--amp", "--no-validate", "--cfg-options", *options)
    work_dir = bench.train(config, Path(config).stem, *flags)
    last = scalars(work_dir, "time")[-1]
    return [("seconds a step; loss", f"{last['time']:.3f}; {last['loss']:.3f}")]


def detector(bench: Bench) -> Found:
    """Train Mask R-CNN."""
    options = ("train_cfg.max_epochs=1", "default_hooks.logger.interval=1")
    return dense(bench, "dwnet/dwnet-mini_digits-det.py", options)


def segmentor(bench: Bench) -> Found:
    """Train UperNet."""
    options = (f"train_cfg.max_iters={bench.pick(60, 2)}", "default_hooks.logger.interval=1")
    return dense(bench, "dwnet/dwnet-mini_digits-seg.py", options)


def nccl(bench: Bench) -> Found:
    """Train with the launcher and one process."""
    flags = ("--no-validate", "--cfg-options", *digits(bench))
    work_dir = bench.train("dwnet/dwnet-mini_digits.py", "nccl", *flags, tool="dist_train.sh")
    backend = "NCCL" if bench.device == "cuda" else "gloo"
    return [(f"one process, {backend}: last loss", f"{scalars(work_dir, 'loss')[-1]['loss']:.3f}")]


def functions() -> dict[str, Callable[[Bench], Found]]:
    """Return the rows by name; those that measure in this process come last."""
    networks = module_of_checkout("gpu_networks")
    return {
        "train-32": train_small,
        "train-224": train_large,
        "guidance": guidance,
        "float16": float16,
        "resume": resume,
        "detector": detector,
        "segmentor": segmentor,
        "nccl": nccl,
        "operators": networks.operators,
        "cascade": networks.cascade,
        "compile": networks.compiled,
    }
