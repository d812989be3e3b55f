"""Signals by which a scheduler asks a process to end soon: SIGTERM and SIGUSR1."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

#: Windows has the first alone.
ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
#: Exit status of what was asked to end and can go on later; EX_TEMPFAIL of sysexits.
TO_BE_CONTINUED = 75
#: Seconds in which further signals are the same request: a scheduler signals all processes of
#: a job, and the launchers among them forward it.
SAME_REQUEST = 5.0
#: Seconds in which a process ends that has saved all; torchrun sends SIGTERM then.
ENDING = 30.0


class EndRequest:
    """The request to end that a signal made of this process.

    Attributes:
        number (int): The signal; 0 before there was one.
    """

    def __init__(self) -> None:
        self.number = 0
        self._noted = 0.0
        self._served: float | None = None
        self._error: Callable[[int], Exception] | None = None
        self._caught: list[int] = []

    def catch(self, error: Callable[[int], Exception] | None = None) -> bool:
        """Note the signals from now on; a second one, which is no echo, ends the process.

        Signals that the process ignores, or handles already, stay as they are.

        Args:
            error (Callable, optional): Makes, of the signal's number, the error that is
                raised at once. Defaults to None: it is only noted.

        Returns:
            bool: Whether a signal is noted; only the main thread can arrange that.
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
                signal.siginterrupt(number, False)  # what libraries wait for goes on
        return any(signal.getsignal(number) == self._handle for number in ASKING)

    def serve(self) -> None:
        """Note that all is saved: for a while, signals do not disturb the end any more."""
        self._served = time.monotonic()

    def release(self) -> None:
        """Leave the signals to the system again, unless the process is about to end."""
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


#: The one of this process.
end_request = EndRequest()


def unblock() -> None:
    """Take the signals that a launcher holds back from the processes that it starts."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)


def start_shielded(start: Callable[[int], None] | None, number: int) -> None:
    """Start a worker process that a request to all processes of a group does not end.

    Its parent still needs it for what it does before it ends, and can end it by SIGTERM.
    Where the system does not tell who sent a signal (macOS), there is no shield.

    Args:
        start (Callable, optional): What else the worker starts with.
        number (int): Number of the worker, for ``start``.
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
