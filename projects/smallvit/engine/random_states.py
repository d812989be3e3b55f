"""The states of all random number generators as plain values, and random streams by name."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_states() -> dict[str, Any]:
    """Read the states of Python's, numpy's and torch's global generators.

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
    """Restore what :func:`get_states` read.

    Args:
        states (dict): The states; their tensors may be on any device.
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
    """Seed the three CPU generators from a tuple of numbers.

    Streams of different tuples are independent, whatever is close in them.

    Args:
        entropy (Sequence[int]): Numbers that name the stream, none negative.
    """
    words = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words)
    torch.default_generator.manual_seed(int(words[2]) << 32 | int(words[3]))


@contextmanager
def preserved() -> Iterator[None]:
    """Leave the CPU generators as they were before the context.

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
