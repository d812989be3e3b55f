"""Run a tool, and report its errors as a user wants them."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType

from smallvit.errors import PreemptedError, SmallvitError, UserError
from smallvit.utils.signals import end_request, unblock


def run_tool(
    main: Callable[[Sequence[str] | None], int | None], argv=None, preemptible: bool = False
) -> int:
    """Run a tool's ``main`` and turn the user's mistakes into short messages.

    Errors whose cause is in the tool itself keep their traceback.

    Args:
        main (Callable): Takes the arguments, returns the exit status or None.
        argv (list[str], optional): Arguments. Defaults to None, which takes those of
            the command line.
        preemptible (bool): End with status 75 at SIGTERM and SIGUSR1, until a training takes
            care of them. Defaults to False.

    Returns:
        int: The exit status.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    from smallvit.explain import remember_config

    remember_config(None)
    try:
        if preemptible:
            end_request.catch(_nothing_saved)
        unblock()
        return main(argv) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        _report(error, debug="--debug" in argv or os.environ.get("SMALLVIT_DEBUG", "") == "1")
        return error.status if isinstance(error, SmallvitError) else 1
    finally:
        _leave_process_group()


def module_of_checkout(name: str) -> ModuleType:
    """Import a module that stands beside a tool in a checkout, and is not part of a wheel.

    Args:
        name (str): The module.

    Returns:
        ModuleType: The module.

    Raises:
        UserError: If this is no checkout.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(
            f"this needs {name}.py, which is part of a checkout of smallvit and not of an "
            "installed wheel: run the tool of a checkout"
        ) from None


def _nothing_saved(number: int) -> PreemptedError:
    return PreemptedError(f"{signal.Signals(number).name} came before the first step")


def _report(error: Exception, debug: bool) -> None:
    from smallvit.explain import explain

    if isinstance(error, PreemptedError):
        if os.environ.get("RANK", "0") == "0":  # all processes end together
            print(f"preempted: {error}", file=sys.stderr, flush=True)
        return
    message = explain(error)
    rank = os.environ.get("RANK", "0")
    prefix = "error" if rank == "0" else f"error (rank {rank})"
    sys.stdout.flush()
    _tell_launcher(error, message)
    if debug or message is None:
        traceback.print_exc()
    if message is not None:
        quiet = debug or isinstance(error, SmallvitError)
        hint = "" if quiet else "\n(--debug shows where this was raised)"
        print(f"{prefix}: {message}{hint}", file=sys.stderr, flush=True)


def _tell_launcher(error: Exception, message: str | None) -> None:
    """Leave the reason where torchrun looks for it: it shows that on the job's last lines."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    import json
    import time

    from smallvit.explain import LOST_PEER_REASON

    reason = message if message is not None else "".join(traceback.format_exception(error))
    # The earliest report counts, and they are told apart by seconds: one process's own error
    # comes before another's that waited for it.
    when = int(time.time()) + reason.startswith(LOST_PEER_REASON)
    details = {"timestamp": str(when), "py_callstack": reason}
    report = {"message": {"message": reason, "extraInfo": details}}
    try:
        with open(path, "w") as file:
            json.dump(report, file)
    except OSError:
        return  # the reason is on stderr too


def _leave_process_group() -> None:
    """Close torch.distributed if the tool opened it, or it complains on exit."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available():
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
