"""Initial weights without stored numbers, compared with clones of the official code if available.

    OFFICIAL_CLONES=FOLDER pytest tests/configs/test_official_weights.py

FOLDER contains the repositories under their own names; ``tests/official_weights.py`` builds them.
"""

import os
from pathlib import Path

import pytest

import official_weights
from weight_checks import described, initial_deviations, other_deviations

CLONES = os.environ.get("OFFICIAL_CLONES")
pytestmark = [
    pytest.mark.usefixtures("quick_build"),
    pytest.mark.skipif(CLONES is None, reason="OFFICIAL_CLONES is not set"),
    pytest.mark.slow,
]

#: Configs for which no official code exists, and the value that is expected instead.
UNCHECKED = {
    "DHVT's ablations and its DeiT": "the class cannot be built without its parts; their rules "
    "of decay are in weights.json, their layers those of the rows that are checked",
    "dw_shortcut without shortcuts or positions, other kernels, bare CaiT": "the code has one form "
    "of each network; ours share initializers and decay with it (FAMILIES of "
    "test_recipe_weights.py)",
    "dynamic DWNet": "the official code builds a static convolution where its config says dynamic",
    "detectors and segmentors": "they start from ImageNet; the rule of decay is tested on names",
}


@pytest.mark.parametrize(("repository", "config", "name"), official_weights.ROWS)
def test_initial_weights_match_the_official_code(repository, config, name):
    theirs = official_weights.measure(Path(CLONES), repository, name)
    if theirs is None:
        pytest.skip(f"{CLONES} has no clone of {repository}")
    ours = described(config)
    found = initial_deviations(ours["init"], theirs["init"], theirs["seeds"])
    assert found | other_deviations(ours, theirs) == {}
