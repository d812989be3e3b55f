#!/usr/bin/env python
"""Measure the overhead of the checks when a checkpoint is read.

A synthetic checkpoint (weights and two moments of each) is written in the three formats and read in
alternation: by torch or safetensors alone, and as by all tools, with and without comparing CRCs or
SHA-256. The files are in the page cache, where the relative overhead is highest. Results are median
seconds of CPU time.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from functools import partial

from smallvit.cli import run_tool, tool_parser
from smallvit.cli.arguments import add_overwrite_flag, positive, require_free


def parse_args(argv=None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("--size", type=positive, default=200, help="file size in MB; default: 200")
    parser.add_argument(
        "--tensors", type=positive, default=600, help="number of tensors; default: 600"
    )
    parser.add_argument(
        "--repeats", type=positive, default=9, help="reads of each file; default: 9"
    )
    parser.add_argument("--threads", type=positive, default=1, help="threads of torch; default: 1")
    parser.add_argument("--json", metavar="OUT", help="also write the results to a file")
    add_overwrite_flag(parser)
    return parser.parse_args(argv)


def write_files(folder: str, size: int, count: int) -> dict[str, str]:
    """Write a checkpoint in each format and return the paths."""
    import torch

    from smallvit.engine.checkpoint.digests import write_with_digest
    from smallvit.engine.checkpoint.formats import write_safetensors

    tensors = {f"layer.{n}.weight": torch.randn(size * 250_000 // count) for n in range(count)}
    checkpoint = {
        "meta": {"epoch": 1, "iter": 100},
        "state_dict": dict(list(tensors.items())[::3]),
        "optimizer": {"state": dict(enumerate(list(tensors.values())[1::3]))},
        "more": list(tensors.values())[2::3],
    }
    paths = {name: os.path.join(folder, name) for name in ("a.pth", "legacy.pth", "a.safetensors")}
    torch.save(checkpoint, paths["a.pth"])
    torch.save(checkpoint, paths["legacy.pth"], _use_new_zipfile_serialization=False)
    with open(paths["legacy.pth"], "rb") as file:
        write_with_digest(paths["legacy.pth"], file.read())
    write_safetensors(paths["a.safetensors"], tensors)
    return paths


def readers(paths: dict[str, str]) -> dict:
    """Return the functions to time, by name."""
    import torch
    from safetensors.torch import load_file

    from smallvit.engine.checkpoint import digests, reading

    def ours(path: str, checks: bool) -> None:
        reading.trust_checkpoints(False, check_crcs=checks)
        beside = path + digests.ENDING
        hidden = not checks and os.path.isfile(beside)
        if hidden:
            os.rename(beside, beside + ".off")
        try:
            reading.load_from_local(path, "cpu")
        finally:
            if hidden:
                os.rename(beside + ".off", beside)

    alone = {
        "a.pth": partial(torch.load, weights_only=True),
        "legacy.pth": partial(torch.load, weights_only=True),
        "a.safetensors": load_file,
    }
    found = {}
    for name, path in paths.items():
        found[f"{name}, library"] = partial(alone[name], path)
        found[f"{name}, without"] = partial(ours, path, False)
        found[f"{name}, with"] = partial(ours, path, True)
    return found


def main(argv=None) -> None:
    args = parse_args(argv)
    require_free(args.json, args.overwrite)

    import torch
    from mmengine.logging import MMLogger

    from smallvit.analysis.harness import time_interleaved
    from smallvit.utils.files import write_whole

    torch.set_num_threads(args.threads)
    MMLogger.get_instance("mmengine", log_level="ERROR")  # hide warnings about unchecked files
    with tempfile.TemporaryDirectory(prefix="smallvit-checkpoints-") as folder:
        paths = write_files(folder, args.size, args.tensors)
        megabytes = {name: os.path.getsize(path) / 1e6 for name, path in paths.items()}
        rounds = time_interleaved(readers(paths), args.repeats, warm_up=1)
    figures = {}
    print("file            check     library   ours, unchecked   ours, checked   check alone")
    for name in paths:
        library, without, checked = (
            statistics.median(turn[f"{name}, {kind}"].cpu for turn in rounds)
            for kind in ("library", "without", "with")
        )
        rate = megabytes[name] / max(checked - without, 1e-9)
        figures[name] = dict(library=library, without=without, checked=checked, rate=rate)
        kind = "CRC" if name == "a.pth" else "SHA-256"
        print(
            f"{name:15} {kind:8} {library:7.3f} s {without:15.3f} s {checked:13.3f} s "
            f"{rate:8.0f} MB/s"
        )
    if args.json:
        write_whole(args.json, json.dumps({"megabytes": megabytes, "seconds": figures}, indent=1))


if __name__ == "__main__":
    sys.exit(run_tool(main))
