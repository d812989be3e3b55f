"""Strict loading of checkpoints for testing.

``Runner.load_or_resume`` only warns about mismatching weights, and then tests random ones.
``Runner.load_checkpoint`` has a strict mode that it does not use. The method is replaced on the
runner that tests, not on the class. Remove this once a config can request it (MMEngine 0.10.7 has
no key for it).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from smallvit.errors import CheckpointError

ALLOW = "(--allow-mismatch tests it anyway, with random values for missing weights)"
_MARK = "do not match exactly"
_MISMATCHES = {
    "missing keys in source state_dict": "missing in the file",
    "unexpected key in source state_dict": "unexpected in the file",
}


def load_strictly(runner: Any) -> None:
    """Make a runner refuse a checkpoint that does not fit its model.

    Args:
        runner (Runner): The runner, whose ``load_checkpoint`` is made strict.
    """
    runner.load_checkpoint = partial(_load_or_refuse, runner.load_checkpoint)


def _load_or_refuse(load_checkpoint, filename: str, **kwargs) -> dict:
    try:
        return load_checkpoint(filename, **{**kwargs, "strict": True})
    except RuntimeError as error:
        raise mismatch(filename, error, ALLOW) from error


def mismatch(filename: str, error: RuntimeError, hint: str = "", shown: int = 4) -> Exception:
    """Shorten MMEngine's list of mismatching weights.

    Args:
        filename (str): Path of the checkpoint.
        error (RuntimeError): Exception raised by MMEngine's strict loading.
        hint (str): Last line of the message. Defaults to "".
        shown (int): Maximum number of names of each kind. Defaults to 4.

    Returns:
        Exception: The error to raise: a :class:`CheckpointError`, or ``error`` itself
        if it has another cause.
    """
    text = str(error)
    if _MARK not in text:
        return error
    keys, sizes = [], []
    for line in (line.strip() for line in text.splitlines()[1:] if line.strip()):
        title, _, names = line.partition(": ")
        if title in _MISMATCHES:
            keys.append(f"  {_MISMATCHES[title]}: {_some(names.split(', '), shown, ', ')}")
        else:
            sizes.append(line)
    if sizes:
        keys.append(f"  {_some(sizes, shown, chr(10) + '  ')}")
    title = f"{filename} does not match the model of the config and was not loaded"
    return CheckpointError("\n".join([title, *keys, *([f"  {hint}"] if hint else [])]))


def _some(items: list[str], shown: int, separator: str) -> str:
    more = [f"and {len(items) - shown} more"] if len(items) > shown else []
    return separator.join(items[:shown] + more)
