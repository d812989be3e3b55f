"""Ends what hangs or takes the memory of the machine, rather than the machine."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator

#: Seconds after which something counts as hung, and bytes it may take.
PATIENCE, MEMORY = 60, 2 << 30


@contextlib.contextmanager
def bounded(seconds: int = PATIENCE) -> Iterator[None]:
    """Limit what the block may take.

    Args:
        seconds (int): Time. Defaults to :data:`PATIENCE`.

    Yields:
        None: While it runs.

    Raises:
        TimeoutError: If it takes longer.
    """

    def stop(*_: object) -> None:
        raise TimeoutError("hangs")

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
