"""torchrun that forwards SIGTERM and SIGUSR1 to its workers and waits for them to finish.

Without this module, SIGUSR1 kills torchrun but not its workers, and SIGTERM leaves the workers 30
seconds. Here both signals are blocked in torchrun, and in each worker until it can handle them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from smallvit.utils.signals import ASKING, SAME_REQUEST, TO_BE_CONTINUED

#: Seconds to wait for workers that are still starting when a signal arrives.
STARTING = 1.0
#: Seconds that torchrun has to notice that its workers have exited.
NOTICING = 10.0


def run(argv: Sequence[str]) -> int:
    """Run a job of several processes until it ends.

    Args:
        argv (Sequence[str]): Arguments of torchrun.

    Returns:
        int: 0, or 75 if the workers were stopped by a signal and can be resumed.

    Raises:
        ChildFailedError: If a worker failed.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
        threading.Thread(target=_forward, daemon=True).start()

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        main(list(argv))
    except ChildFailedError as error:
        if all(failure.exitcode != TO_BE_CONTINUED for failure in error.failures.values()):
            raise
        return TO_BE_CONTINUED
    return 0


def _forward() -> None:
    """Forward the first signal to the workers; kill them at a second request."""
    first = signal.sigwait(ASKING)
    when = time.monotonic()
    workers = _await_workers()
    if not workers:
        os._exit(TO_BE_CONTINUED)  # no worker has started
    print(f"forwarded {signal.Signals(first).name} to the processes of the job", file=sys.stderr)
    for worker in workers:
        _send(os.kill, worker, first)
    while True:
        number = signal.sigwait(ASKING)
        if time.monotonic() - when > SAME_REQUEST:
            break
    for worker in _children():
        _send(os.killpg, worker, signal.SIGKILL)
    time.sleep(NOTICING)
    os._exit(128 + number)


def _await_workers() -> list[int]:
    until = time.monotonic() + STARTING
    while not (found := list(_children())) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _send(send, process: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(process, number)


def _children() -> Iterator[int]:
    """Running child processes."""
    for process, parent, state in _processes():
        if parent == os.getpid() and not state.startswith("Z"):
            yield process


def _processes() -> Iterator[tuple[int, int, str]]:
    """Process ID, parent process ID and state of all processes."""
    if not os.path.isdir("/proc/self"):
        command = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "stat="]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ps:
            table = ps.communicate()[0]
        for process, parent, state in (line.split()[:3] for line in table.splitlines()):
            if int(process) != ps.pid:
                yield int(process), int(parent), state
        return
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):  # the process may have ended in the meantime
            # The process name before these fields may contain parentheses and spaces.
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            yield int(folder.name), int(parent), state
