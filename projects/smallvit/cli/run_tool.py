"""Run a tool with user-friendly error messages and exit statuses."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType

from smallvit.errors import PreemptedError, SmallvitError, UserError
from smallvit.utils import locks
from smallvit.utils.signals import end_request, unblock


def run_tool(
    main: Callable[[Sequence[str] | None], int | None], argv=None, preemptible: bool = False
) -> int:
    """Run the ``main`` function of a tool and print user errors as short messages.

    Unexpected errors keep their traceback.

    Args:
        main (Callable): Function that takes the arguments and returns the exit status or None.
        argv (list[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.
        preemptible (bool): Exit with status 75 on SIGTERM and SIGUSR1 until a training run
            installs its own handlers. Defaults to False.

    Returns:
        int: Exit status.
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
        locks.release_all()  # a refused or a dry run is no interrupted training


def module_of_checkout(name: str) -> ModuleType:
    """Import a module that exists only in a source checkout, not in a wheel.

    Args:
        name (str): Module name.

    Returns:
        ModuleType: The imported module.

    Raises:
        UserError: If the module does not exist.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(
            f"this requires {name}.py, which is part of a source checkout of smallvit but not of "
            "an installed wheel: run the tool from a checkout"
        ) from None


def _nothing_saved(number: int) -> PreemptedError:
    return PreemptedError(f"received {signal.Signals(number).name} before the first step")


def _report(error: Exception, debug: bool) -> None:
    from smallvit.explain import explain

    if isinstance(error, PreemptedError):
        if os.environ.get("RANK", "0") == "0":  # all processes are preempted together
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
        hint = "" if quiet else "\n(pass --debug for the traceback)"
        print(f"{prefix}: {message}{hint}", file=sys.stderr, flush=True)


def _tell_launcher(error: Exception, message: str | None) -> None:
    """Write the error file of torchrun, which prints it at the end of the job."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    import json
    import time

    from smallvit.explain import LOST_PEER_REASON

    reason = message if message is not None else "".join(traceback.format_exception(error))
    # torchrun shows the earliest report, with a resolution of seconds: report a lost peer later
    # than the error that caused it.
    when = int(time.time()) + reason.startswith(LOST_PEER_REASON)
    details = {"timestamp": str(when), "py_callstack": reason}
    report = {"message": {"message": reason, "extraInfo": details}}
    try:
        with open(path, "w") as file:
            json.dump(report, file)
    except OSError:
        return  # the reason is on stderr too


def _leave_process_group() -> None:
    """Destroy the process group, because torch warns on exit otherwise."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available():
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
