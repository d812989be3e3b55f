"""Loading a checkpoint into a model that it must fit."""

from __future__ import annotations

from functools import partial

from mmengine.runner import Runner

from smallvit.errors import CheckpointError


def load_strictly(runner: Runner) -> None:
    """Make a runner refuse a checkpoint that does not fit its model.

    MMEngine warns and goes on, which tests random weights.

    Args:
        runner (Runner): The runner, whose ``load_checkpoint`` is made strict.
    """
    runner.load_checkpoint = partial(_load_or_refuse, runner.load_checkpoint)


def _load_or_refuse(load_checkpoint, filename: str, **kwargs) -> dict:
    try:
        return load_checkpoint(filename, **{**kwargs, "strict": True})
    except RuntimeError as error:
        if "do not match exactly" not in str(error):
            raise
        raise CheckpointError(_mismatch(filename, str(error))) from error


def _mismatch(filename: str, text: str, shown: int = 4) -> str:
    """Shorten MMEngine's list of everything that does not fit."""
    keys, sizes = [], []
    for line in (line.strip() for line in text.splitlines()[1:] if line.strip()):
        title, _, names = line.partition(": ")
        if title in _MISMATCHES:
            keys.append(f"  {_MISMATCHES[title]}: {_some(names.split(', '), shown, ', ')}")
        else:
            sizes.append(line)
    if sizes:
        keys.append(f"  {_some(sizes, shown, chr(10) + '  ')}")
    return "\n".join(
        [
            f"{filename} is a checkpoint of another model than the config's, and was not tested",
            *keys,
            "  (--allow-mismatch tests it nevertheless, with random weights where it has none)",
        ]
    )


_MISMATCHES = {
    "missing keys in source state_dict": "the model has, the file lacks",
    "unexpected key in source state_dict": "the file has, the model lacks",
}


def _some(items: list[str], shown: int, separator: str) -> str:
    more = [f"and {len(items) - shown} more"] if len(items) > shown else []
    return separator.join(items[:shown] + more)
