"""Interleaved timing of training steps of several configs."""

import json

import pytest

from smallvit.analysis.training_steps import take_turns
from tool_helpers import load_tool, run_main, write_tiny_config

benchmark = load_tool("locality_guidance/benchmark.py")


def counting(log, name):
    while True:
        log.append(name)
        yield


def test_turns_alternate_and_skip_what_was_loaded_before():
    log = []
    trainings = {name: counting(log, name) for name in "ab"}
    turns = take_turns(trainings, 2, block=2, skip=1)
    assert "".join(log) == "aaabbb" + "bbbaaa"
    assert [set(turn) for turn in turns] == [{"a", "b"}] * 2
    assert all(clock >= 0 for turn in turns for times in turn.values() for clock in times)


def test_ratios_are_those_of_the_turns():
    turns = [{"a": (1.0, 1.0), "b": (2.0, 1.5)}, {"a": (3.0, 1.0), "b": (3.0, 1.0)}]
    turns.append({"a": (2.0, 1.0), "b": (2.2, 1.1)})
    found = benchmark.summarize(turns, ["a", "b"])
    assert found["a"]["ratio"] == 1.0
    assert found["b"]["ratio"] == pytest.approx(1.1)
    assert found["b"]["cpu_ratio"] == pytest.approx(1.1)
    assert found["b"]["seconds"] == 2.2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_config(tmp_path_factory.mktemp("tiny"))


def test_measures_configs(tiny, tmp_path, capfd):
    small = tmp_path / "small.py"
    small.write_text(
        f'_base_ = r"{tiny}"\nmodel = dict(backbone=dict(stem_channels=4))\n'
        "train_dataloader = dict(num_workers=1)\n"
    )
    file = tmp_path / "figures.json"
    argv = (tiny, small, "--steps", 3, "--warm-up", 1, "--block", 2, "--json", file)
    assert run_main(benchmark.main, *argv) == 0
    found = json.loads(file.read_text())
    assert list(found["models"]) == ["tiny", "small"]
    assert all(figures["seconds"] > 0 for figures in found["models"].values())
    assert "2 turns of 2 steps" in found["setting"]
    text = capfd.readouterr().out
    assert "ms CPU/step" in text
    assert "(CPU " in text


def test_rejects_invalid_comparisons(tiny, tmp_path, capfd):
    assert run_main(benchmark.main, tiny) == 2
    assert "at least two configs" in capfd.readouterr().err
    other = tmp_path / "other.py"
    other.write_text(f'_base_ = r"{tiny}"\ntrain_dataloader = dict(batch_size=2)\n')
    assert run_main(benchmark.main, tiny, other) == 1
    assert "different batch sizes" in capfd.readouterr().err
