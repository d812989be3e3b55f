"""Handling of SIGTERM and SIGUSR1, the signals with which schedulers ask a process to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

#: Windows has only SIGTERM.
ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
#: Exit status of a process that was stopped and can be resumed: EX_TEMPFAIL of ``sysexits.h``.
TO_BE_CONTINUED = 75
#: Seconds during which further signals count as the same request: a scheduler signals all
#: processes of a job, and launchers forward the signal.
SAME_REQUEST = 5.0
#: Seconds that a process needs to exit after saving, while torchrun sends SIGTERM.
ENDING = 30.0


class EndRequest:
    """Record of a signal that asks this process to end.

    Attributes:
        number (int): Number of the signal; 0 if there was none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._noted = 0.0
        self._served: float | None = None
        self._error: Callable[[int], Exception] | None = None
        self._caught: list[int] = []

    def catch(self, error: Callable[[int], Exception] | None = None) -> bool:
        """Install the signal handlers; a second request ends the process immediately.

        Signals that the process ignores or already handles are left unchanged.

        Args:
            error (Callable, optional): Maps the signal number to an exception that is raised
                immediately. Defaults to None: the signal is only recorded.

        Returns:
            bool: Whether a signal is handled; only the main thread can install handlers.
        """
        if self._served is not None:
            self._forget()
        self._error = error
        if threading.current_thread() is not threading.main_thread():
            return False
        for number in ASKING:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, self._handle)
                self._caught.append(number)
                signal.siginterrupt(number, False)  # system calls of libraries are restarted
        return any(signal.getsignal(number) == self._handle for number in ASKING)

    def serve(self) -> None:
        """Mark the request as served, so that repeated signals do not interrupt the exit."""
        self._served = time.monotonic()

    def release(self) -> None:
        """Restore the default handlers, unless the process is about to exit."""
        if self._served is None:
            self._forget()

    def _forget(self) -> None:
        for number in self._caught:
            signal.signal(number, signal.SIG_DFL)
        self.__init__()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.number:
            self.number, self._noted = number, now
            if self._error is not None:
                raise self._error(number)
            return
        last, patience = self._noted, SAME_REQUEST
        if self._served is not None:
            last, patience = self._served, ENDING
        if now - last > patience:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


#: Stop request of this process.
end_request = EndRequest()


def unblock() -> None:
    """Unblock the signals that a launcher blocks in the processes it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)


def start_shielded(start: Callable[[int], None] | None, number: int) -> None:
    """Start a worker process that ignores stop signals sent to the whole process group.

    The parent needs its workers until it stops, and ends them with SIGTERM itself. Where the
    system does not report the sender of a signal (macOS), workers are not shielded.

    Args:
        start (Callable, optional): Original initialization function of the worker.
        number (int): Number of the worker, passed to ``start``.
    """
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()
    if start is not None:
        start(number)


def _obey(parent: int) -> None:
    while True:
        told = signal.sigwaitinfo(ASKING)
        if told.si_pid == parent and told.si_signo == signal.SIGTERM:
            os._exit(0)
