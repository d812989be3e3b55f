"""What is given back when a training ends, in whatever way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.runner.base_loop import BaseLoop


def at_end(loop: BaseLoop, call: Callable[[], None]) -> None:
    """Let a loop call a function when it has run, also if it fails, where no hook is called.

    Args:
        loop (BaseLoop): A training loop that has not begun.
        call (Callable): The function.
    """
    run = loop.run

    def run_and_call() -> Any:
        try:
            return run()
        finally:
            call()

    loop.run = run_and_call
