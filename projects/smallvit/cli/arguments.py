"""Flags that several tools have in common, spelt as in the MM libraries."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

from smallvit.errors import UserError

_DICT = re.compile(r"\bdict\(|\{[^}]*:")


class CfgOptions(DictAction):
    """``KEY=VALUE`` pairs as in the MM libraries, with an error that shows the bad one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Check the pairs and merge them into the namespace; see ``argparse.Action``."""
        for pair in values:
            key, equals, value = pair.partition("=")
            if not key or not equals:
                parser.error(f"{option_string}: {pair!r} is not of the form KEY=VALUE")
            if _DICT.search(value):
                parser.error(
                    f"{option_string}: {key}={value} holds a dict, which MMEngine reads as a text: "
                    f"set its parts ({key}.type=..., or {key}.0.type=... in a list that is there), "
                    "or write it in a config that inherits this one"
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            parser.error(f"{option_string}: {error}")
        _restore_spaces(values, getattr(namespace, self.dest))


def _restore_spaces(pairs: list[str], parsed: dict[str, Any]) -> None:
    """MMEngine drops all white space, also that of a path."""
    for key, _, value in (pair.partition("=") for pair in pairs):
        if " " in value and not set(value) & set(",[]()"):
            parsed[key] = value


def tool_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser as every tool has it, with ``--debug``.

    Args:
        description (str): What the tool does; its lines are kept.

    Returns:
        argparse.ArgumentParser: The parser; ``allow_abbrev`` is off, so that a
        misspelt flag is an error rather than another flag.
    """
    parser = argparse.ArgumentParser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="show the whole traceback of an error (as SMALLVIT_DEBUG=1 does)",
    )
    return parser


def base_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with what most tools take: a config and overrides of it.

    Args:
        description (str): What the tool does.

    Returns:
        argparse.ArgumentParser: The parser.
    """
    parser = tool_parser(description)
    parser.add_argument(
        "config",
        help="config file of smallvit or any MM library, or its address in a package, such as "
        "smallvit::dwnet/dwnet-t_in1k.py",
    )
    add_override_flags(parser)
    return parser


def checkpoint_parser(
    description: str, epilog: str, config_help: str = "config, where the checkpoint has none"
) -> argparse.ArgumentParser:
    """Make a parser of a tool that uses a trained model: its checkpoint, and how that is read.

    Args:
        description (str): What the tool does.
        epilog (str): What stands behind the flags.
        config_help (str): What ``--config`` is for.

    Returns:
        argparse.ArgumentParser: The parser; :func:`read_as_asked` applies two of its flags.
    """
    parser = tool_parser(description)
    parser.epilog = epilog
    parser.add_argument("checkpoint", help="file or address of a checkpoint that smallvit wrote")
    parser.add_argument("--config", metavar="FILE", help=config_help)
    add_trust_flag(parser)
    return parser


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, which :func:`choose_device` checks.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument("--device", help="cpu, cuda:0 ...; default: a GPU if there is one")


def add_override_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=CfgOptions,
        metavar="KEY=VALUE",
        help="override settings of the config; merged last, so they win over every other flag. "
        'Lists: key="[a,b]" or key=a,b; nested: key="[(a,b),(c,d)]"; quotes are needed and '
        "white space is not allowed",
    )


def add_runtime_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that training and testing share.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--work-dir", help="folder of logs and results; default: work_dirs/<config name>"
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="automatic mixed precision in bfloat16, on CPU too; for float16 with a loss scaler "
        "on GPU: --cfg-options optim_wrapper.type=AmpOptimWrapper",
    )
    add_compile_flag(parser)
    parser.add_argument(
        "--no-pin-memory", action="store_true", help="switch off pin_memory in the data loaders"
    )
    parser.add_argument(
        "--no-persistent-workers",
        action="store_true",
        help="switch off persistent_workers in the data loaders",
    )
    add_trust_flag(parser)
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="job launcher; the dist_*.sh and slurm_*.sh scripts set it",
    )
    # torchrun sets LOCAL_RANK; older launchers pass one of these two flags.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_compile_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--compile``.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--compile",
        nargs="?",
        const="default",
        choices=["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"],
        metavar="MODE",
        help="torch.compile the networks, in this mode: default, reduce-overhead (CUDA graphs), "
        "max-autotune or max-autotune-no-cudagraphs",
    )


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flags of tools that read checkpoints, which :func:`read_as_asked` applies.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--trust-checkpoint",
        "--trust",
        action="store_true",
        help="load checkpoints with all that they hold, even if that runs code; without it, "
        "tensors and plain values only",
    )
    parser.add_argument(
        "--no-crc",
        action="store_true",
        help="do not compare checkpoints with their CRCs; for files that were written without",
    )


def read_as_asked(args: argparse.Namespace) -> None:
    """Read checkpoints from now on as the flags of :func:`add_trust_flag` say.

    Args:
        args (argparse.Namespace): Parsed arguments.
    """
    from smallvit.engine.checkpoint.reading import trust_checkpoints

    trust_checkpoints(args.trust_checkpoint, check_crcs=not args.no_crc)


def add_overwrite_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``, which :func:`require_free` looks at.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there already"
    )


def require_free(
    path: str | os.PathLike | None,
    overwrite: bool,
    sources: Sequence[str | os.PathLike] = (),
) -> None:
    """Refuse to write over a file that the user did not give up.

    Args:
        path (str | os.PathLike, optional): The file to be; None where none is written.
        overwrite (bool): Whether ``--overwrite`` was given.
        sources (Sequence[str | os.PathLike]): What the tool reads, which is never replaced.
            Defaults to none.

    Raises:
        UserError: If the file is there, is a folder, or is one that the tool reads.
    """
    if path is None or not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: name a file to write")
    for source in sources:
        if os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path):
            raise UserError(f"{path} is read here, and would be replaced: write to another file")
    if not overwrite:
        raise UserError(f"{path} is there already: --overwrite replaces it, or name another file")


def choose_device(name: str | None) -> str:
    """Check what ``--device`` was given.

    Args:
        name (str | None): The flag; None for a GPU if there is one, else the CPU.

    Returns:
        str: The device.

    Raises:
        UserError: If there is no such device.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: no device of torch, such as cpu or cuda:0") from None
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        seen = f"{count} CUDA device{'s'[: count != 1]}" if count else "no CUDA device"
        raise UserError(f"--device {name}: torch sees {seen}")
    return name


def export_local_rank(args: argparse.Namespace) -> None:
    """Put the flag of an old launcher where MMEngine looks for it.

    Args:
        args (argparse.Namespace): Parsed arguments with ``local_rank``.
    """
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))


def add_workers_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    default = min(os.cpu_count() or 1, 16)
    parser.add_argument(
        "--workers",
        type=natural,
        default=default,
        metavar="N",
        help=f"worker processes that read and decode; 0: this process; here by default {default}",
    )


def positive(text: str) -> int:
    """Read the value of a flag that takes 1 or more.

    Args:
        text (str): The value.

    Returns:
        int: The number.

    Raises:
        argparse.ArgumentTypeError: If it is none, or 0 or less.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return int(text)


def natural(text: str) -> int:
    """Read the value of a flag that takes 0 or more.

    Args:
        text (str): The value.

    Returns:
        int: The number.

    Raises:
        argparse.ArgumentTypeError: If it is none, or less than 0.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number: 0, 1, 2, ...")
    return int(text)
