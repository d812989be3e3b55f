#!/usr/bin/env python
"""Convert an official checkpoint to ours, or ours back with --reverse.

Reads what the official repositories write (a bare state dict, or one under 'model',
'state_dict' or 'model_state') and .safetensors files. Every key must be known: a
checkpoint of another system is refused and nothing is written.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from smallvit.cli import UserError, run_tool, tool_parser
from smallvit.cli.arguments import add_trust_flag
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


def read(path: Path, trust: bool) -> dict:
    from smallvit.engine.checkpoint.reading import load_from_local, require_checkpoint
    from smallvit.errors import CheckpointError

    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    try:
        if trust:
            return _read_pickle(Path(require_checkpoint(path)))
        return load_from_local(path, map_location="cpu")
    except CheckpointError as error:
        pickled = "run code" in str(error)
        hint = "; if you trust where it comes from, add --trust" if pickled else ""
        raise UserError(f"{error}{hint}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _read_safetensors(path: Path) -> dict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: cannot be read as safetensors ({error})") from error


def _read_pickle(path: Path) -> dict:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: its pickled objects need the module {error.name!r}; "
            f"install it (pip install {error.name}) and run this again"
        ) from error
    except Exception as error:
        raise UserError(f"{path}: damaged or not a checkpoint ({error})") from error


def write(state: dict, path: Path, wrapper: str) -> None:
    import torch
    from safetensors.torch import save_file

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        if path.suffix == SAFETENSORS:
            save_file({key: value.contiguous() for key, value in state.items()}, temporary)
        else:
            torch.save({wrapper: state}, temporary)
        # mkstemp makes files that only their owner reads.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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

    checkpoint = read(args.src, args.trust_checkpoint)
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
