"""Rows of measure_gpu.py that time operators and networks in this process."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

import smallvit  # noqa: F401  # import before configs of the MM libraries are read
from smallvit.analysis.harness import time_interleaved
from smallvit.engine.compiling import compile_networks
from smallvit.engine.models import build_model

#: Of gpu_rows.py, which imports this file: where the rows run.
Bench = Any
Found = list[tuple[str, str]]
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
#: Maps of a tiny DWNet's stages and of a detector's first: (B, C, H, W), 32 channels a group.
MAPS = (
    (64, 96, 56, 56),
    (64, 192, 28, 28),
    (64, 384, 14, 14),
    (64, 768, 7, 7),
    (1, 96, 200, 304),
)
COMPILED = {
    "dwnet/dwnet-t_in1k.py": 128,
    "dhvt/dhvt-t_in1k.py": 128,
    "dw_shortcut/vit-t_shortcut_cifar100.py": 128,
}


def seconds(call: Callable[[], object], bench: Bench, rounds: int = 7) -> float:
    """Return the median time of a call in seconds."""
    rounds = bench.pick(rounds, 1)
    times = time_interleaved({"it": call}, rounds, warm_up=bench.pick(3, 1), device=bench.device)
    return statistics.median(each["it"].wall for each in times)


def copy_bandwidth(bench: Bench) -> float:
    """Measure the bandwidth of a device-to-device copy in bytes per second."""
    source = torch.empty(bench.pick(2**28, 2**16), device=bench.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), bench)


def operators(bench: Bench) -> Found:
    """Measure the fraction of the copy bandwidth, counting each input and output once."""
    from smallvit.ops import inhomogeneous_dwconv2d

    bandwidth = copy_bandwidth(bench)
    found = [("copy bandwidth", f"{bandwidth / 1e12:.2f} TB/s")]
    for shape in bench.pick(MAPS, ((2, 64, 14, 14),)):
        for dtype in (torch.float32, torch.bfloat16):
            for layout in (torch.contiguous_format, torch.channels_last):
                x, weight, grad = operator_inputs(shape, dtype, layout, bench.device)

                def forward(x=x, weight=weight) -> Tensor:
                    with torch.no_grad():
                        return inhomogeneous_dwconv2d(x, weight)

                def both(x=x, weight=weight, grad=grad) -> tuple:
                    out = inhomogeneous_dwconv2d(x, weight)
                    return torch.autograd.grad(out, (x, weight), grad)

                times = [seconds(call, bench) for call in (forward, both)]
                least = 2 * x.nbytes + weight.nbytes
                least = [least, least + 4 * x.nbytes + 2 * weight.nbytes]
                shares = [100 * size / bandwidth / t for size, t in zip(least, times, strict=True)]
                order = "channels-last" if layout is torch.channels_last else "contiguous"
                found.append(
                    (
                        f"inhomogeneous {shape}, {str(dtype)[6:]}, {order}; with backward",
                        f"{1e3 * times[0]:.3f} / {1e3 * times[1]:.3f} ms "
                        f"({shares[0]:.0f}%, {shares[1]:.0f}% of the bandwidth)",
                    )
                )
    return found


def operator_inputs(
    shape: tuple, dtype: torch.dtype, layout: torch.memory_format, device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Create a feature map, 7x7 kernels for groups of 32 channels, and an output gradient."""
    B, C, H, W = shape
    x = torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=layout)
    flat = torch.randn(B, C // 32 * 49, H, W, device=device, dtype=dtype)
    weight = flat.contiguous(memory_format=layout).unflatten(1, (C // 32, 49))
    return x.requires_grad_(), weight.detach().requires_grad_(), torch.randn_like(x)


def network(config: str, device: str) -> nn.Module:
    """Build the model of a config."""
    from mmengine.registry import init_default_scope

    cfg = Config.fromfile(CONFIGS / config)
    init_default_scope(cfg.get("default_scope") or "mmpretrain")
    return build_model(cfg).to(device).eval()


def cascade(bench: Bench) -> Found:
    """Measure early exit relative to the last exit, with 60, 25 and 15% of the images per exit."""
    from smallvit.plugins.multi_exit.calibration import Calibration, score_exits
    from smallvit.plugins.multi_exit.thresholds import ThresholdSearch
    from smallvit.plugins.multi_exit.timing import measure

    name, size = bench.pick(("dvt-t2t-12_cifar100.py", 224), ("dvt-mini_digits.py", 32))
    model = network(f"dvt/{name}", bench.device)
    torch.manual_seed(0)
    images = torch.randn(bench.pick(1024, 20), 3, size, size, device=bench.device)
    labels = torch.zeros(len(images), dtype=torch.long)
    with torch.inference_mode():
        batches = [torch.stack(model(each)).float().cpu() for each in images.split(128)]
    # With random weights, logits hardly differ between images: set thresholds by rank.
    confidence, _ = score_exits(torch.cat(batches, dim=1), labels)
    row = ThresholdSearch(confidence)(torch.tensor([0.6, 0.25, 0.15])).tolist()
    calibration = Calibration([1.0, 2.0, 3.0], [row])
    found = []
    for batch in bench.pick((1, 8, 128, 512), (1, 8)):
        some = images[: bench.pick({1: 64, 8: 256}.get(batch, 1024), 10)]
        points = measure(
            model, some, labels[: len(some)], calibration, [row], batch, bench.pick(3, 1)
        )
        point = points[-1]
        shares = "/".join(f"{share:.0f}" for share in point.shares)
        share = 100 * point.speedup / point.ideal
        found.append(
            (
                f"batch {batch}: speed-up over the last exit, left at {shares}%",
                f"{point.speedup:.2f} of {point.ideal:.2f} ideal ({share:.0f}%)",
            )
        )
    return found


def compiled(bench: Bench) -> Found:
    """Measure the speedup of compiled networks, in training and for a single image."""
    found = []
    networks = bench.pick(COMPILED, {"dwnet/dwnet-mini_digits.py": 2})
    for config, batch in networks.items():
        for mode in bench.pick(("default", "reduce-overhead"), ("default",)):
            gains = [
                gain(bench, config, mode, size, train)
                for size, train in ((batch, True), (1, False))
            ]
            found.append(
                (
                    f"{Path(config).stem}, {mode}: step of {batch}, inference of one image",
                    f"{gains[0]:.2f}, {gains[1]:.2f} times as fast",
                )
            )
    return found


def gain(bench: Bench, config: str, mode: str, batch: int, train: bool) -> float:
    """Return eager time divided by compiled time."""
    model = network(config, bench.device)
    size = bench.pick(224, 32)
    images = torch.randn(batch, 3, size, size, device=bench.device)

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(bench.device, torch.bfloat16):
            out = model.backbone(images)[-1]
        if train:
            model.zero_grad(set_to_none=True)
            out.float().square().mean().backward()

    model.train(train)
    with nullcontext() if train else torch.inference_mode():
        eager = seconds(step, bench)
        compile_networks(model, mode, bench.pick("inductor", "eager"))
        return eager / seconds(step, bench)
