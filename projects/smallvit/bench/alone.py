"""One bench at a time in a folder; who only reads it need not wait."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager

from smallvit.errors import UserError
from smallvit.utils.locks import HeldError, hold, release


@contextmanager
def alone(out: str) -> Iterator[None]:
    """Keep other benches out of a folder while this one works there.

    Args:
        out (str): The folder.

    Yields:
        None: While it is this one's.

    Raises:
        UserError: If another one works there.
    """
    name = osp.join(out, ".bench")
    try:
        hold(name, out, "bench")
    except HeldError as error:
        raise UserError(f"{error}: wait for it, or take another --out") from None
    try:
        yield
    finally:
        release(name)
