"""Run functions in forked child processes, which start immediately because all imports are done."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

#: Timeout in seconds; generous, because startup is slow on a shared machine.
PATIENCE = 400

context = multiprocessing.get_context("fork")


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def forget_the_parent() -> None:
    """Remove loggers and visualizers of earlier tests, which write to the files of those tests."""
    for manager in (MMLogger, MessageHub, Visualizer, DefaultScope):
        _forget_instances(manager)


def _forget_instances(manager: type) -> None:
    manager._instance_dict.clear()
    for subclass in manager.__subclasses__():
        _forget_instances(subclass)


def redirect(output: Path) -> None:
    """Redirect the output of this process to a file; pytest would capture it."""
    descriptor = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = sys.stderr = os.fdopen(descriptor, "w", buffering=1)


def end_with(call: Callable[[], int | None]) -> None:
    """Call a function in a forked child and exit with its status."""
    status = 1
    try:
        status = call() or 0
    except SystemExit as end:
        if isinstance(end.code, int | None):
            status = end.code or 0
        else:
            print(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Forked:
    """A call in a child process with its own session, with the methods of a ``Popen``.

    It starts immediately because all imports are already done.

    Args:
        call (Callable): Function to call; returns the exit status.
        folder (Path): Working directory; the output is written there too.
        environment (dict, optional): Environment variables to set. Defaults to None.
    """

    def __init__(
        self,
        call: Callable[[], int | None],
        folder: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.output = Path(folder) / "forked.out"
        self.output.touch()
        self._settings = call, Path(folder), environment or {}
        sys.stdout.flush()
        sys.stderr.flush()
        self._child = context.Process(target=self._begin)
        self._child.start()
        self.pid = self._child.pid

    def _begin(self) -> None:
        call, folder, environment = self._settings
        os.setsid()
        redirect(self.output)
        os.chdir(folder)
        os.environ.update(environment)
        forget_the_parent()
        end_with(call)

    @property
    def returncode(self) -> int | None:
        return self._child.exitcode

    def poll(self) -> int | None:
        return self._child.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._child.kill()

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """Wait for the process to end and return all its output in place of stderr."""
        self._child.join(timeout)
        if self._child.is_alive():
            raise TimeoutError(f"it hangs:\n{self.output.read_text()}")
        return None, self.output.read_text(errors="replace")


def run_ranks(call: Callable[[], int | None], processes: int, output: Path) -> list[int]:
    """Call a function in several processes with the environment variables of torchrun.

    Args:
        call (Callable): Function to call in each process; returns the exit status.
        processes (int): Number of ranks.
        output (Path): File for their output.

    Returns:
        list[int]: Exit statuses of the ranks.
    """
    port = free_port()

    def begin(rank: int) -> None:
        redirect(output)
        forget_the_parent()
        become_rank(rank, processes, port)
        end_with(call)

    children = [context.Process(target=begin, args=(rank,)) for rank in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
        child.kill()
        child.join()
    return [child.exitcode for child in children]


def become_rank(rank: int, processes: int, port: int) -> None:
    """Set the environment variables of torchrun."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
