"""Callbacks that run when training ends, whether or not it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.runner.base_loop import BaseLoop


def at_end(loop: BaseLoop, call: Callable[[], None]) -> None:
    """Call a function when a loop ends, even if it fails, in which case no hook is called.

    Args:
        loop (BaseLoop): A training loop that has not started.
        call (Callable): Function to call.
    """
    run = loop.run

    def run_and_call() -> Any:
        try:
            return run()
        finally:
            call()

    loop.run = run_and_call
