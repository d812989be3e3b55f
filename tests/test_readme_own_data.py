"""Commands of "Your own data" in README.md, executed unchanged on tiny data with the same names."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_builders import write_coco
from smallvit.cli import export
from smallvit.cli.main import main
from tool_helpers import ROOT, own_experiment, run_main

#: Arguments added to a command only to reduce its work.
LESS = {
    "train": "--epochs 1 --batch-size 4 --image-size 32 --cfg-options "
    + " ".join(f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test"))
    + " val_dataloader.persistent_workers=False",
    "test": "--cfg-options test_dataloader.num_workers=0",
}
MOST_LINES = 5
VERBS = ("train", "test", "predict", "export")


def blocks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"### Your own data\n(.*?)\n### ", text, re.DOTALL)[1]
    found = {}
    for block in re.findall(r"```bash\n(.*?)```", section, re.DOTALL):
        lines = [shlex.split(line, comments=True) for line in block.splitlines()]
        lines = [words for words in lines if words]
        if any("--channels" in words for words in lines):
            continue  # tested in tests/tools/test_bands.py
        data = lines[0][lines[0].index("--data") + 1]
        if not data.endswith(".csv"):  # a label table is not one of the three layouts
            found[data] = lines
    return found


def write_cifar10(root):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, level in (("cat", 60), ("ship", 180)):
            (root / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = rng.normal(level, 20, (32, 32, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:04}.jpg")


def write_nuclei(root):
    for split in ("train", "val"):
        write_coco(root, images=2, name=split, classes=("nucleus",))


def write_camvid(root):
    values = np.repeat(np.array([0, 1, 2, 11], np.uint8), 16)
    labels = np.tile(values, (48, 1))
    for split in ("train", "val", "test"):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True)
        for name in "abc":
            Image.fromarray(labels).save(root / f"annotations/{split}/{name}.png")
            pixels = np.stack([labels * 20] * 3, -1)
            Image.fromarray(pixels).save(root / f"images/{split}/{name}.jpg")


DATA = {"cifar10": write_cifar10, "nuclei": write_nuclei, "camvid": write_camvid}


def expanded(words):
    """Expand a glob as a shell does; without a match the word is unchanged."""
    return [
        path
        for word in words
        for path in (sorted(map(str, Path().glob(word))) if "*" in word else []) or [word]
    ]


def test_the_three_layouts_are_short_and_complete():
    found = blocks()
    assert set(found) == set(DATA)
    for lines in found.values():
        assert len(lines) <= MOST_LINES
        verbs = [words[1] for words in lines if words[0] == "smallvit"]
        assert verbs == list(VERBS)
        export.parse_args(lines[-1][2:])


#: Skip writing and comparing ONNX graphs, which is slow and covered by test_exporting.py.
WITHOUT = [
    pytest.param(name, VERBS[:3], marks=[] if name == "cifar10" else [pytest.mark.slow])
    for name in DATA
]
WHOLE = [pytest.param(name, VERBS, marks=pytest.mark.exhaustive) for name in DATA]


@pytest.mark.parametrize(("name", "verbs"), [*WITHOUT, *WHOLE])
def test_the_commands_run(name, verbs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    DATA[name](tmp_path / name)
    for words in blocks()[name]:
        if words[1] not in verbs:
            continue
        monkeypatch.setattr(sys, "argv", ["smallvit"])
        extra = LESS.get(words[1], "").split()
        extra += [own_experiment()] if extra else []
        assert run_main(main, *expanded(words[1:]), *extra) == 0, capsys.readouterr().err
    written = {path.name for path in tmp_path.rglob("*")}
    assert {"predictions.csv", "predictions.json", "drawn"} <= written
    assert (f"{name}.onnx" in written) == ("export" in verbs)
