"""Command-line flags shared by several tools, named as in the MM libraries."""

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
    """Parse ``KEY=VALUE`` pairs as in the MM libraries, and report invalid ones."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Validate the pairs and store them in the namespace, see ``argparse.Action``."""
        for pair in values:
            key, equals, value = pair.partition("=")
            if not key or not equals:
                parser.error(f"{option_string}: {pair!r} is not of the form KEY=VALUE")
            if _DICT.search(value):
                parser.error(
                    f"{option_string}: {key}={value} contains a dict, which MMEngine reads as a "
                    f"string: set its keys ({key}.type=..., or {key}.0.type=... in an existing "
                    "list), or write it in a config that inherits this one"
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:
            parser.error(f"{option_string}: {error}")
        _restore_spaces(values, getattr(namespace, self.dest))


def _restore_spaces(pairs: list[str], parsed: dict[str, Any]) -> None:
    """Undo MMEngine's removal of white space, which breaks paths."""
    for key, _, value in (pair.partition("=") for pair in pairs):
        if " " in value and not set(value) & set(",[]()"):
            parsed[key] = value


def tool_parser(description: str) -> argparse.ArgumentParser:
    """Create the parser that all tools start from, with ``--debug``.

    Args:
        description (str): Description of the tool; line breaks are preserved.

    Returns:
        argparse.ArgumentParser: The parser. ``allow_abbrev`` is disabled, so that a misspelled
        flag is an error instead of an abbreviation of another flag.
    """
    parser = argparse.ArgumentParser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="print the full traceback of errors (same as SMALLVIT_DEBUG=1)",
    )
    return parser


def base_parser(description: str) -> argparse.ArgumentParser:
    """Create a parser with a config argument and ``--cfg-options``.

    Args:
        description (str): Description of the tool.

    Returns:
        argparse.ArgumentParser: The parser.
    """
    parser = tool_parser(description)
    parser.add_argument(
        "config",
        help="config file of smallvit or any MM library, or a config in an installed package, such "
        "as smallvit::dwnet/dwnet-t_in1k.py",
    )
    add_override_flags(parser)
    return parser


def checkpoint_parser(
    description: str,
    epilog: str,
    config_help: str = "config file, for a checkpoint that contains none",
) -> argparse.ArgumentParser:
    """Create a parser with a checkpoint argument and the flags for reading it.

    Args:
        description (str): Description of the tool.
        epilog (str): Text after the list of flags.
        config_help (str): Help text of ``--config``.

    Returns:
        argparse.ArgumentParser: The parser; :func:`read_as_asked` applies its trust flags.
    """
    parser = tool_parser(description)
    parser.epilog = epilog
    parser.add_argument("checkpoint", help="checkpoint file or URL, written by smallvit")
    parser.add_argument("--config", metavar="FILE", help=config_help)
    add_trust_flag(parser)
    return parser


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, which :func:`choose_device` validates.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument("--device", help="cpu, cuda:0, ...; default: a GPU if available")


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
        help="override config settings; applied last and take precedence over all other flags. "
        'Lists: key="[a,b]" or key=a,b; nested: key="[(a,b),(c,d)]"; the quotes are required and '
        "white space is not allowed",
    )


def add_runtime_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags shared by training and testing.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--work-dir", help="directory for logs and results; default: work_dirs/<config name>"
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="automatic mixed precision in bfloat16, on GPU and CPU; for float16 with loss scaling "
        "on GPU: --cfg-options optim_wrapper.type=AmpOptimWrapper",
    )
    add_compile_flag(parser)
    parser.add_argument(
        "--no-pin-memory", action="store_true", help="disable pin_memory in the data loaders"
    )
    parser.add_argument(
        "--no-persistent-workers",
        action="store_true",
        help="disable persistent_workers in the data loaders",
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
        help="compile the networks with torch.compile; modes: default, reduce-overhead (CUDA "
        "graphs), max-autotune, max-autotune-no-cudagraphs",
    )


def add_trust_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flags for reading checkpoints, which :func:`read_as_asked` applies.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument(
        "--trust-checkpoint",
        "--trust",
        action="store_true",
        help="load arbitrary objects from checkpoints, which may execute code; by default only "
        "tensors and plain values are loaded",
    )
    parser.add_argument(
        "--no-crc",
        action="store_true",
        help="skip the CRC check of checkpoints, for files written without CRCs",
    )


def read_as_asked(args: argparse.Namespace) -> None:
    """Apply the flags of :func:`add_trust_flag` to all checkpoints read from now on.

    Args:
        args (argparse.Namespace): Parsed arguments.
    """
    from smallvit.engine.checkpoint.reading import trust_checkpoints

    trust_checkpoints(args.trust_checkpoint, check_crcs=not args.no_crc)


def add_overwrite_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``, which is passed to :func:`require_free`.

    Args:
        parser (argparse.ArgumentParser): The parser to add to.
    """
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing files")


def require_free(
    path: str | os.PathLike | None,
    overwrite: bool,
    sources: Sequence[str | os.PathLike] = (),
) -> None:
    """Check that an output file may be written.

    Args:
        path (str | os.PathLike, optional): Output file; None if nothing is written.
        overwrite (bool): Whether ``--overwrite`` was given.
        sources (Sequence[str | os.PathLike]): Input files of the tool, which are never
            overwritten. Defaults to ().

    Raises:
        UserError: If the path exists and ``overwrite`` is False, is a folder, or is an input file.
    """
    if path is None or not os.path.lexists(path):
        return
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: specify an output file")
    for source in sources:
        if os.path.exists(source) and os.path.exists(path) and os.path.samefile(source, path):
            raise UserError(
                f"{path} is an input file and would be overwritten: specify another output file"
            )
    if not overwrite:
        raise UserError(
            f"{path} already exists: pass --overwrite to replace it, or specify another file"
        )


def choose_device(name: str | None) -> str:
    """Validate the value of ``--device``.

    Args:
        name (str | None): Value of the flag; None selects a GPU if available, otherwise the CPU.

    Returns:
        str: Device name.

    Raises:
        UserError: If the device is invalid or not available.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: not a torch device, such as cpu or cuda:0") from None
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        seen = f"{count} CUDA device{'s'[: count != 1]}" if count else "no CUDA device"
        raise UserError(f"--device {name}: torch sees {seen}")
    return name


def export_local_rank(args: argparse.Namespace) -> None:
    """Export ``--local_rank`` of old launchers as ``LOCAL_RANK``, which MMEngine reads.

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
        help=f"worker processes for reading and decoding; 0: main process; default: {default}",
    )


def positive(text: str) -> int:
    """Parse a positive integer (argparse type).

    Args:
        text (str): Command-line value.

    Returns:
        int: Parsed number.

    Raises:
        argparse.ArgumentTypeError: If it is not an integer of at least 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive integer")
    return int(text)


def natural(text: str) -> int:
    """Parse a non-negative integer (argparse type).

    Args:
        text (str): Command-line value.

    Returns:
        int: Parsed number.

    Raises:
        argparse.ArgumentTypeError: If it is not an integer of at least 0.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a non-negative integer: 0, 1, 2, ...")
    return int(text)
