"""Command-line arguments shared by several tools."""

import argparse
import os

import pytest
import torch

from smallvit.cli.arguments import base_parser, choose_device, positive, require_free
from smallvit.cli.config import short_names
from smallvit.cli.run_tool import module_of_checkout
from smallvit.errors import UserError


@pytest.mark.parametrize(
    "value", ["[dict(type=CocoMetric,metric=bbox)]", "[dict(type=A),dict(type=B)]", "{'a': 1}"]
)
def test_dicts_in_options_are_rejected_in_a_sentence(value, capsys):
    with pytest.raises(SystemExit):
        base_parser("it").parse_args(["x.py", "--cfg-options", f"test_evaluator={value}"])
    message = capsys.readouterr().err
    assert "test_evaluator.0.type=" in message
    assert "config that inherits" in message


def test_existing_devices_are_accepted(monkeypatch):
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == "cpu"


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("cuda", 0, "torch sees no CUDA device"),
        ("cuda:1", 1, "torch sees 1 CUDA device"),
        ("cuda:2", 2, "torch sees 2 CUDA devices"),
        ("gpu", 2, "not a torch device"),
    ],
)
def test_missing_devices_are_rejected(monkeypatch, name, count, words):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(UserError, match=f"--device {name}: {words}"):
        choose_device(name)


def test_tools_that_need_a_checkout_say_so():
    with pytest.raises(UserError, match=r"no_such_module.py, which is part of a source checkout"):
        module_of_checkout("no_such_module")


def test_configs_with_equal_names_are_distinguished():
    assert short_names(["a/x.py", "b/x.py", "b/y.py"]) == ["x", "x (2)", "y"]


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "many"])
def test_a_count_is_a_positive_number(text, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=positive)
    assert parser.parse_args(["--count", "7"]).count == 7
    with pytest.raises(SystemExit):
        parser.parse_args([f"--count={text}"])
    assert f"argument --count: {text} is not a positive integer" in capsys.readouterr().err


def test_inputs_are_never_overwritten(tmp_path):
    there, link = tmp_path / "a.pth", tmp_path / "link.pth"
    require_free(there, overwrite=False)
    require_free(None, overwrite=False)
    there.write_text("mine")
    with pytest.raises(UserError, match=r"a\.pth already exists: pass --overwrite"):
        require_free(there, overwrite=False)
    require_free(there, overwrite=True)
    os.link(there, link)
    for source in (there, link):
        with pytest.raises(UserError, match=r"a\.pth is an input file"):
            require_free(there, overwrite=True, sources=[tmp_path / "gone", source])
    with pytest.raises(UserError, match="is a folder"):
        require_free(tmp_path, overwrite=True)
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="already exists"):
        require_free(link, overwrite=False)
