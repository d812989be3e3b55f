"""Random number generator states as plain values, and seeded random streams."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_states() -> dict[str, Any]:
    """Get the states of the global generators of Python, numpy and torch.

    Returns:
        dict: Tensors and plain values, which load under ``weights_only=True``.
    """
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    states = {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "kind": str(kind),
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_states(states: dict[str, Any]) -> None:
    """Restore the result of :func:`get_states`.

    Args:
        states (dict): Generator states; their tensors may be on any device.
    """
    python, numpy = states["python"], states["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(
        (
            numpy["kind"],
            numpy["keys"].cpu().numpy().astype(np.uint32),
            numpy["position"],
            numpy["has_gauss"],
            numpy["cached"],
        )
    )
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())


def seed_all(entropy: Sequence[int]) -> None:
    """Seed the three CPU generators from a sequence of numbers.

    Streams of different sequences are independent, even if the numbers are similar.

    Args:
        entropy (Sequence[int]): Non-negative numbers that identify the stream.
    """
    words = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words)
    torch.default_generator.manual_seed(int(words[2]) << 32 | int(words[3]))


@contextmanager
def preserved() -> Iterator[None]:
    """Context that restores the CPU generators when it exits.

    Yields:
        None: While the context lasts.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
