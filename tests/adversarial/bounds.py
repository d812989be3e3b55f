"""Time and memory limits for tests of hostile input."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator

#: Timeout in seconds and memory limit in bytes.
PATIENCE, MEMORY = 60, 2 << 30


@contextlib.contextmanager
def bounded(seconds: int = PATIENCE) -> Iterator[None]:
    """Limit the time and memory of the block.

    Args:
        seconds (int): Timeout. Defaults to :data:`PATIENCE`.

    Yields:
        None: While the block runs.

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
