#!/usr/bin/env python
"""Measure throughput and memory of one or more configs on random data.

Models are timed in alternation; ratios are more reliable than absolute numbers. The forward pass
includes only the network, without data loading and post-processing; the training step includes
forward, backward and optimizer step.
"""

import argparse
import json
import sys

from smallvit.cli import run_tool, tool_parser
from smallvit.cli.arguments import (
    add_compile_flag,
    add_device_flag,
    add_override_flags,
    add_overwrite_flag,
    choose_device,
    positive,
    require_free,
)
from smallvit.cli.run_tool import module_of_checkout


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "configs", nargs="+", help="config files; the first is compared with each other one"
    )
    parser.add_argument("--mode", choices=["forward", "train", "both"], default="forward")
    parser.add_argument("--batch-size", type=positive, default=1, help="default: 1")
    parser.add_argument(
        "--shape",
        type=positive,
        nargs=2,
        metavar=("H", "W"),
        help="input size; default: that of published results for the task",
    )
    add_device_flag(parser)
    parser.add_argument("--amp", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--channels-last", action="store_true", help="memory format")
    add_compile_flag(parser)
    parser.add_argument("--threads", type=positive, help="CPU threads; default: that of torch")
    parser.add_argument(
        "--guards",
        type=positive,
        metavar="STEPS",
        help="measure the overhead of the training guards instead: this number of steps with and "
        "without them, in alternation, on the data of the config",
    )
    parser.add_argument("--repeats", type=positive, default=5, help="rounds; default: 5")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="minimum duration of a timing; default: 0.5"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_overwrite_flag(parser)
    add_override_flags(parser)
    return parser.parse_args(argv)


def load_configs(args: argparse.Namespace) -> dict:
    from smallvit.cli.config import short_names
    from smallvit.engine.pipeline import resolve

    needed = ("model",) if args.mode == "forward" else ("model", "optim_wrapper")
    if args.guards:
        needed = ("model", "optim_wrapper", "train_cfg", "train_dataloader")
    return {
        name: resolve(path, args.cfg_options, needed, f"--mode {args.mode}")
        for name, path in zip(short_names(args.configs), args.configs, strict=True)
    }


def report(result: dict) -> None:
    names = list(result["models"])
    width = max(map(len, names))
    print(f"{result['mode']}")
    for name, figures in result["models"].items():
        print(
            f"  {name:{width}}  {figures['images_per_second']:10.2f} images/s"
            f"  {1000 * figures['seconds']:10.2f} ms/step"
            f"  {figures['memory_mib']:7.0f} MiB"
            f"  {figures['shape'][0]}x{figures['shape'][1]}"
        )
    for other, ratio in result["ratio"].items():
        print(
            f"  {names[0]} is {ratio['median']:.3f} times as fast as {other} "
            f"({ratio['min']:.3f} to {ratio['max']:.3f} over the rounds)"
        )


def report_guards(name: str, result: dict) -> None:
    print(f"guards, {result['steps']} steps of {name} each")
    for clock, figures in ((key, result[key]) for key in ("wall", "cpu")):
        print(
            f"  {clock:4} time  {1000 * figures['without']:9.2f} ms/step without"
            f"  {1000 * figures['with']:9.2f} ms/step with"
            f"  cost {100 * figures['cost']:+.2f}%"
        )


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)

    import torch

    from smallvit.analysis.benchmark import BenchmarkSettings, benchmark
    from smallvit.utils.files import write_whole

    if args.threads:
        torch.set_num_threads(args.threads)
    settings = BenchmarkSettings(
        batch_size=args.batch_size,
        shape=args.shape,
        device=choose_device(args.device),
        amp=args.amp,
        channels_last=args.channels_last,
        compile=args.compile,
        repeats=args.repeats,
        seconds=args.seconds,
    )
    cfgs = load_configs(args)
    modes = ["forward", "train"] if args.mode == "both" else [args.mode]
    modes = [] if args.guards else modes
    guards = module_of_checkout("guard_cost") if args.guards else None
    print(
        f"torch {torch.__version__}, {settings.device}, {torch.get_num_threads()} threads, "
        f"batch {settings.batch_size}, {'bfloat16' if settings.amp else 'float32'}"
    )
    results = []
    for name, cfg in cfgs.items() if args.guards else ():
        results.append({"model": name, "guards": guards.guard_cost(cfg, args.guards)})
        report_guards(name, results[-1]["guards"])
    for mode in modes:
        results.append(benchmark(cfgs, mode, settings))
        report(results[-1])
    if args.json:
        write_whole(
            args.json, json.dumps({"settings": vars(settings), "results": results}, indent=2)
        )


if __name__ == "__main__":
    sys.exit(run_tool(main))
