#!/usr/bin/env python
"""Convert an official checkpoint to ours, or back with --reverse.

Reads checkpoints of the official repositories (a plain state dict, or one under 'model',
'state_dict' or 'model_state') and .safetensors files. Unknown keys, such as those of another
system, raise an error and nothing is written.

With --training-state the output also contains the epoch, the optimizer state under our parameter
names and the averaged weights, for tools/train.py --resume.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, add_trust_flag, read_as_asked, require_free
from smallvit.converters.system import SYSTEM_NAMES
from smallvit.errors import about

SAFETENSORS = ".safetensors"


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("system", choices=SYSTEM_NAMES, help="system of the checkpoint")
    parser.add_argument("src", type=Path, help="input checkpoint")
    parser.add_argument(
        "dst", type=Path, help="output file; the format follows the extension (.safetensors)"
    )
    parser.add_argument(
        "--reverse", action="store_true", help="convert our keys to the official ones"
    )
    parser.add_argument("--ema", action="store_true", help="convert the averaged (EMA) weights")
    parser.add_argument(
        "--training-state", action="store_true", help="include the training state for resuming"
    )
    add_overwrite_flag(parser)
    add_trust_flag(parser)
    args = parser.parse_args(argv)
    chosen = [flag for flag in ("reverse", "ema", "training_state") if getattr(args, flag)]
    if len(chosen) > 1:
        flags = " and ".join(f"--{flag.replace('_', '-')}" for flag in chosen)
        parser.error(
            f"{flags} are mutually exclusive; --training-state includes weights and average"
        )
    if args.training_state and args.dst.suffix == SAFETENSORS:
        parser.error(f"--training-state requires another format than {SAFETENSORS}")
    return args


def write(content: dict, path: Path) -> None:
    from smallvit.engine.checkpoint.formats import write_checkpoint, write_safetensors

    if path.suffix == SAFETENSORS:
        (state,) = content.values()
        write_safetensors(str(path), state)
    else:
        write_checkpoint(path, content)


def describe(system: str, official: dict, ours: dict) -> str:
    from smallvit.converters import get_system, identify

    key_map, names = identify(system, official)
    lines = [f"{len(official)} official tensors, {len(ours)} ours; {system}, {key_map.name}"]
    if key_map.classes in ours:
        lines.append(f"classes: {ours[key_map.classes].shape[0]}")
    models = get_system(system).models
    lines += [f"fits {name}: {models[name].config}" for name in names]
    if not names:
        lines.append("no official model has these sizes: specify arch as a dict in the config")
    return "\n".join(lines)


def main(argv=None) -> int:
    args = parse_args(argv)
    if not args.dst.absolute().parent.is_dir():
        raise UserError(f"no such folder: {args.dst.parent}; create it first")
    require_free(args.dst, args.overwrite, sources=[args.src])
    from smallvit import converters
    from smallvit.engine.checkpoint.reading import load_from_local

    read_as_asked(args)
    checkpoint = load_from_local(args.src, map_location="cpu")
    with about(args.src):
        source = (converters.averaged_weights if args.ema else converters.unwrap)(checkpoint)
        state = (converters.revert if args.reverse else converters.convert)(args.system, source)
        training = (
            converters.convert_training(args.system, checkpoint) if args.training_state else None
        )
    official, ours = (state, source) if args.reverse else (source, state)
    lines = [describe(args.system, official, ours)]
    wrapper = converters.get_system(args.system).wrapper if args.reverse else "state_dict"
    content = {wrapper: state}
    if training is not None:
        content["training_state"] = training.as_plain()
        lines.append(describe_training(training))
    elif "optimizer" in checkpoint or "optimizer_state" in checkpoint:
        lines.append("weights only: pass --training-state to include optimizer and epoch")
    write(content, args.dst)
    print("\n".join([*lines, f"wrote {args.dst}"]))
    return 0


def describe_training(training) -> str:
    average = "with" if training.average is not None else "without"
    return (
        f"{training.epoch} epochs, optimizer moments of {len(training.moments)} parameters, "
        f"{average} averaged weights; resume with tools/train.py CONFIG --resume FILE"
    )


if __name__ == "__main__":
    sys.exit(run_tool(main))
