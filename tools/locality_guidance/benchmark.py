#!/usr/bin/env python
"""Compare the training step time of several configs with that of the first.

A step includes data loading and all hooks of an iteration. The training runs alternate in one
process, so that the ratios are robust to varying machine speed.
"""

import argparse
import json
import statistics
import sys
import tempfile

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_override_flags, add_overwrite_flag, positive, require_free


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("configs", nargs="+", help="training configs; the first is the reference")
    parser.add_argument(
        "--steps", type=positive, default=100, help="timed steps per config; default: 100"
    )
    parser.add_argument("--warm-up", type=int, default=5, help="warm-up steps; default: 5")
    parser.add_argument(
        "--block",
        type=positive,
        help="timed steps per turn; default: 1; with worker processes 20, after discarding the "
        "prefetched batches",
    )
    parser.add_argument("--threads", type=positive, help="CPU threads; default: that of torch")
    parser.add_argument("--json", metavar="FILE", help="also write the results to a file")
    add_overwrite_flag(parser)
    add_override_flags(parser)
    args = parser.parse_args(argv)
    if len(args.configs) < 2:
        parser.error("specify at least two configs: the first is the reference for the others")
    return args


def load_configs(args: argparse.Namespace) -> dict:
    from smallvit.cli.config import short_names
    from smallvit.engine.pipeline import resolve

    needs = ("model", "optim_wrapper", "train_cfg", "train_dataloader")
    cfgs = {
        name: resolve(path, args.cfg_options, needs, "training")
        for name, path in zip(short_names(args.configs), args.configs, strict=True)
    }
    sizes = {name: cfg.train_dataloader.get("batch_size") for name, cfg in cfgs.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"the configs have different batch sizes and cannot be compared: {sizes}")
    return cfgs


def loaded_ahead(cfgs: dict) -> int:
    """Return the number of batches that workers prefetch during the turn of another run."""
    loaders = [cfg.train_dataloader for cfg in cfgs.values()]
    return max(
        loader.get("num_workers", 0) * (loader.get("prefetch_factor") or 2) for loader in loaders
    )


def summarize(turns: list[dict], names: list[str]) -> dict:
    result = {}
    for name in names:
        ratios = [turn[name][0] / turn[names[0]][0] for turn in turns]
        result[name] = {
            "seconds": statistics.median(turn[name][0] for turn in turns),
            "cpu_seconds": statistics.median(turn[name][1] for turn in turns),
            "ratio": statistics.median(ratios),
            "cpu_ratio": statistics.median(turn[name][1] / turn[names[0]][1] for turn in turns),
            "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2] if len(ratios) > 1 else [],
        }
    return result


def report(result: dict) -> None:
    first, width = next(iter(result)), max(map(len, result))
    for name, figures in result.items():
        line = (
            f"  {name:{width}}  {1000 * figures['seconds']:9.2f} ms/step"
            f"  {1000 * figures['cpu_seconds']:9.2f} ms CPU/step"
        )
        if name != first:
            line += f"  {100 * (figures['ratio'] - 1):+.1f}%"
            line += f" (CPU {100 * (figures['cpu_ratio'] - 1):+.1f}%)"
        if name != first and figures["ratio_quartiles"]:
            low, high = (100 * (each - 1) for each in figures["ratio_quartiles"])
            line += f", interquartile range {low:+.1f}% to {high:+.1f}%"
        print(line)


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)

    import torch

    from smallvit.analysis.training_steps import take_turns, training_steps
    from smallvit.utils.files import write_whole

    if args.threads:
        torch.set_num_threads(args.threads)
    cfgs = load_configs(args)
    ahead = loaded_ahead(cfgs)
    block = args.block or (20 if ahead else 1)
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            name: training_steps(cfg, f"{folder}/{number}")
            for number, (name, cfg) in enumerate(cfgs.items())
        }
        for training in trainings.values():
            for _ in range(max(args.warm_up, 1)):
                next(training)
        turns = take_turns(trainings, -(-args.steps // block), block, ahead)
    result = summarize(turns, list(cfgs))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    loader = next(iter(cfgs.values())).train_dataloader
    setting = (
        f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, batch "
        f"{loader.get('batch_size')}, {loader.get('num_workers', 0)} workers, {len(turns)} turns "
        f"of {block} steps"
    )
    print(setting)
    report(result)
    if args.json:
        write_whole(args.json, json.dumps({"setting": setting, "models": result}, indent=1))


if __name__ == "__main__":
    sys.exit(run_tool(main))
