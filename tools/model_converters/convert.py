#!/usr/bin/env python
"""Convert an official checkpoint to ours, or ours back with --reverse.

Reads what the official repositories write (a bare state dict, or one under 'model',
'state_dict' or 'model_state') and .safetensors files. Every key must be known: a
checkpoint of another system is refused and nothing is written.
"""

import argparse
import sys
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_trust_flag, read_as_asked
from smallvit.converters.system import SYSTEM_NAMES

SAFETENSORS = ".safetensors"


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("system", choices=SYSTEM_NAMES, help="system that the checkpoint is of")
    parser.add_argument("src", type=Path, help="checkpoint to read")
    parser.add_argument("dst", type=Path, help="file to write; .safetensors if it ends so")
    parser.add_argument("--reverse", action="store_true", help="from our keys to the official ones")
    add_trust_flag(parser)
    return parser.parse_args(argv)


def write(state: dict, path: Path, wrapper: str) -> None:
    import torch

    from smallvit.engine.checkpoint.formats import write_safetensors
    from smallvit.utils.files import whole_file

    if path.suffix == SAFETENSORS:
        write_safetensors(str(path), state)
        return
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        torch.save({wrapper: state}, file)


def describe(system: str, official: dict, ours: dict) -> str:
    from smallvit.converters import get_system, identify

    key_map, names = identify(system, official)
    lines = [f"{len(official)} official tensors, {len(ours)} ours; {system}, {key_map.name}"]
    if key_map.classes in ours:
        lines.append(f"classes: {ours[key_map.classes].shape[0]}")
    models = get_system(system).models
    lines += [f"fits {name}: {models[name].config}" for name in names]
    if not names:
        lines.append("no official model has these sizes: write the config's arch as a dict")
    return "\n".join(lines)


def main(argv=None) -> int:
    args = parse_args(argv)
    if not args.dst.absolute().parent.is_dir():
        raise UserError(f"no such folder: {args.dst.parent}; create it first")
    from smallvit.converters import ConversionError, convert, get_system, revert, unwrap
    from smallvit.engine.checkpoint.reading import load_from_local

    read_as_asked(args)
    checkpoint = load_from_local(args.src, map_location="cpu")
    try:
        source = unwrap(checkpoint)
        state = (revert if args.reverse else convert)(args.system, source)
    except ConversionError as error:
        raise UserError(f"{args.src}: {error}") from error
    official, ours = (state, source) if args.reverse else (source, state)
    report = describe(args.system, official, ours)
    write(state, args.dst, get_system(args.system).wrapper if args.reverse else "state_dict")
    print(f"{report}\nwrote {args.dst}")
    return 0


if __name__ == "__main__":
    sys.exit(run_tool(main))
