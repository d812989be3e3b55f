#!/usr/bin/env python
"""Measure tools and networks on one GPU in under ten minutes, without network access.

The rows use the actual tools: train.py on generated images of 32x32 and 224x224, compared with the
network alone; guidance online and from a store; float16 with loss scaling; bit-exact resuming; Mask
R-CNN and UperNet with --amp; one process with NCCL; the fraction of the copy bandwidth reached by
the operators; a cascade at batch 1, 8, 128 and 512; the speedup of torch.compile. The table
includes GPU, versions, date and command. No other process should use the GPU.

--dry-run does the same on the CPU at toy size, as a smoke test.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free
from smallvit.cli.run_tool import module_of_checkout

ROWS = (
    "train-32",
    "train-224",
    "guidance",
    "float16",
    "resume",
    "detector",
    "segmentor",
    "nccl",
    "operators",
    "cascade",
    "compile",
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="default: all")
    parser.add_argument("--dry-run", action="store_true", help="smoke test at toy size on the CPU")
    parser.add_argument(
        "--minutes",
        type=positive,
        default=10,
        help="time limit for all rows; default: 10",
    )
    parser.add_argument("--work-dir", type=Path, help="default: a temporary folder")
    parser.add_argument("--out", metavar="FILE", help="also write the table to a file")
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def describe(device: str) -> str:
    """Return a description of GPU, versions and date."""
    import platform

    import torch

    from smallvit import __version__

    card = "CPU, a dry run: no measurement" if device == "cpu" else torch.cuda.get_device_name()
    try:
        from triton import __version__ as triton
    except ImportError:
        triton = "none"
    day = time.strftime("%Y-%m-%d")
    return (
        f"{card}; torch {torch.__version__}, CUDA {torch.version.cuda}, Triton {triton}, Python "
        f"{platform.python_version()}, smallvit {__version__}, {os.cpu_count()} CPU cores; {day}"
    )


def measure(args: argparse.Namespace, device: str, folder: Path) -> list[tuple[str, str, str]]:
    """Run the rows; failures are reported and do not stop the other rows."""
    rows = module_of_checkout("gpu_rows")
    bench = rows.Bench(device, args.dry_run, folder, time.monotonic() + 60 * args.minutes)
    functions, lines = rows.functions(), []
    for name in args.rows:
        began = time.monotonic()
        if bench.seconds_left() < 5:
            lines.append(
                (name, "not measured", f"the time limit of {args.minutes} minutes was reached")
            )
            continue
        try:
            found = functions[name](bench)
        except Exception as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            found = [("failed", words[-1][:200])]
        lines += [(name, what, value) for what, value in found]
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return lines


def table(lines: list[tuple[str, str, str]], setting: str, command: str) -> str:
    text = [setting, "", f"    {command}", "", "| row | what | measured |", "|---|---|---|"]
    text += [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
    return "\n".join(text) + "\n"


def choose_device(dry_run: bool) -> str:
    if dry_run:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "torch sees no GPU, so there is nothing to measure; --dry-run tries all of it on the "
            "CPU at toy size"
        )
    return "cuda"


def main(argv=None) -> int:
    args = parse_args(argv)
    require_free(args.out, args.overwrite)
    device = choose_device(args.dry_run)

    from smallvit.utils.files import write_whole

    command = " ".join(["python tools/analysis_tools/measure_gpu.py", *map(str, argv or [])])
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work_dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lines = measure(args, device, folder.resolve())
    text = table(lines, describe(device), command)
    print(text, end="")
    if args.out:
        write_whole(args.out, text)
    return int(any(what == "failed" for _, what, _ in lines))


if __name__ == "__main__":
    sys.exit(run_tool(main))
