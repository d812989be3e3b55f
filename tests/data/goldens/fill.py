"""Deterministic weights and inputs for the numeric reference fixtures.

Every tensor is drawn from a legacy NumPy ``RandomState`` seeded with the CRC-32
of its state-dict key, so a whole model can be re-created from a list of
``[key, shape, dtype, kind]`` entries and one integer seed.
"""

import re
import zlib

import numpy as np

# kind -> transform of standard normal noise ``n``; a kind may include a factor for the result, e.g.
# "weight*0.1"; see README.md
_RULES = {
    "running_mean": lambda n, shape: 0.1 * n,
    "running_var": lambda n, shape: 1.0 + 0.2 * np.abs(n),
    "norm_weight": lambda n, shape: 1.0 + 0.1 * n,
    "scale": lambda n, shape: 0.5 + 0.05 * n,
    "bias": lambda n, shape: 0.1 * n,
    "weight": lambda n, shape: n / np.sqrt(np.prod(shape[1:])),
    "embed": lambda n, shape: 0.2 * n,
}


def infer_kind(name, shape, overrides=()):
    """Return the kind of a state-dict entry from its key and shape.

    ``overrides`` is a list of ``[regex, kind]``; the first regex found in the key takes precedence
    over the generic rules below.
    """
    for pattern, kind in overrides:
        if re.search(pattern, name):
            return kind
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("running_mean", "running_var", "num_batches_tracked"):
        return leaf
    if leaf in ("relative_position_index", "attn_mask"):
        return "keep"
    if leaf == "alpha" or (leaf == "weight" and len(shape) == 1):
        return "norm_weight"
    if leaf == "scale":
        return "scale"
    if leaf in ("bias", "beta"):
        return "bias"
    if leaf == "weight":
        return "weight"
    return "embed"


def fill_tensor(name, shape, kind, seed):
    """Return the value of a tensor as float32 (int64 zero for a batch counter)."""
    shape = tuple(shape)
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    base, _, factor = kind.partition("*")
    rng = np.random.RandomState((zlib.crc32(name.encode()) + seed) & 0xFFFFFFFF)
    value = _RULES[base](rng.standard_normal(shape), shape) * float(factor or 1)
    return np.asarray(value, np.float32)


def fill_state(entries, seed):
    """Return ``{key: array}`` for all entries except those of kind ``keep``."""
    return {
        name: fill_tensor(name, shape, kind, seed)
        for name, shape, _dtype, kind in entries
        if kind != "keep"
    }


def make_input(shape, seed):
    """Return a standard normal float32 array."""
    return np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32)
