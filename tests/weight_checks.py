"""Compare the initial state of training with official statistics in ``weights.json``."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from torch import nn

from config_helpers import read_config
from smallvit.analysis.recipe import weights

#: Three standard errors, std / sqrt(2 n), when comparing three seeds with three seeds: the
#: difference has sqrt(1/3 + 1/3) of one error, so this is 3.7 errors of the difference, applied to
#: any number of seeds.
ERRORS = 3 / (2 / 3) ** 0.5


@cache
def network(name: str) -> nn.Module:
    """Build the initialized model of a config; it is shared and must not be modified."""
    return weights.build_network(read_config(name))


@cache
def described(name: str) -> dict[str, Any]:
    """Return initial statistics, weight decay and modules of a config under official names."""
    cfg, model, system = read_config(name), network(name), name.split("/")[0]
    return dict(
        init=weights.describe_initialization(model, system),
        groups=weights.describe_groups(cfg, model, system),
        modules=weights.describe_modules(model),
    )


def initial_deviations(ours: Mapping, official: Mapping, seeds: int) -> dict[str, tuple]:
    """List initial statistics that are neither equal nor within the expected sampling error."""
    found = {}
    for kind in sorted({*ours, *official}):
        if kind not in ours or kind not in official:
            found[kind] = (kind in ours, kind in official)
            continue
        row = ours[kind]
        tensors, count, mean, std, largest = official[kind]
        if (row["tensors"], row["n"]) != (tensors, count):
            found[f"{kind}, size"] = ((row["tensors"], row["n"]), (tensors, count))
        if std == 0:
            if (row["mean"], row["std"]) != (pytest.approx(mean, rel=1e-6), 0):
                found[kind] = (row["mean"], row["std"]), (mean, std)
            continue
        error = ERRORS * std * (1 + 1 / seeds) ** 0.5
        # Bounds of a truncated normal that the official sample reached once in millions; ours are
        # skipped.
        extreme = largest > weights.OUTLIER * std
        slack = (std**2 + 3 * largest**2 / count) ** 0.5 - std if extreme else 0.0
        if not -error / (2 * count) ** 0.5 - slack < row["std"] - std < error / (2 * count) ** 0.5:
            found[f"{kind}, std"] = row["std"], std
        if abs(row["mean"] - mean) > 1.3 * error / count**0.5 + slack:
            found[f"{kind}, mean"] = row["mean"], mean
        # Distinguishes a uniform distribution from a normal one.
        if count > 5000 and not extreme and not 0.65 < row["max"] / largest < 1.5:
            found[f"{kind}, largest"] = row["max"], largest
    return found


def other_deviations(ours: Mapping, official: Mapping) -> dict[str, tuple]:
    """List differences in weight decay, norms, dropout and stochastic depth."""
    groups, modules = ours["groups"], ours["modules"]
    decays = {kind: row["decay"] for kind, row in groups.items()}
    pairs = dict(
        exempt=(_kinds(decays, 0.0), official["exempt"]),
        decay=(sorted({value for value in decays.values() if value}), [official["decay"]]),
        frozen=(_kinds(decays, None), sorted({re.sub(r"\d+", "#", n) for n in official["frozen"]})),
        norms=(modules["norms"], official["norms"]),
        dropout=(
            {float(p): n for p, n in modules["dropout"].items()},
            _numbers(official["dropout"]),
        ),
        drop_path=(
            sorted(float(rate) for rate in modules["stochastic depth"]),
            official["drop_path"],
        ),
    )
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _kinds(decays, value):
    found = {kind.split(" ")[0] for kind, decay in decays.items() if decay == value}
    return sorted(found)


def _numbers(table):
    return {float(key): value for key, value in table.items()}
