"""Training recipes: collection, comparison, printing and plotting."""

import json

import pytest

from config_helpers import CONFIGS, read_config
from smallvit.analysis.recipe.report import as_text, differences, flatten, recipe
from smallvit.cli.main import main

MINI = "dwnet/dwnet-mini_digits.py"


@pytest.fixture(scope="module")
def mini():
    return recipe(read_config(MINI))


def test_recipes_contain_plain_values(mini):
    assert json.loads(json.dumps(mini)) is not None
    assert mini["loader"]["images per step"] == 64
    assert mini["learning rate"]["peak"] == pytest.approx(1.8945e-3, rel=1e-3)
    assert mini["groups"]["head.weight [2d]"] == {"decay": 0.05, "rate": 2e-3}
    norms = [kind for kind in mini["groups"] if "norm.weight" in kind]
    assert norms
    assert all(mini["groups"][kind]["decay"] == 0 for kind in norms)


def test_random_values_are_not_compared(mini):
    assert differences(mini, recipe(read_config(MINI), seed=1)) == {}


def test_differences_name_the_setting(mini):
    cfg = read_config(MINI)
    cfg.train_dataloader.drop_last = True
    cfg.optim_wrapper.optimizer.weight_decay = 0.1
    cfg.model.head.init_cfg = dict(type="Normal", layer="Linear", std=0.5)
    found = differences(mini, recipe(cfg))
    assert found["loader", "last partial batch"] == ("kept", "dropped")
    assert found["groups", "head.weight [2d]", "decay"] == (0.05, 0.1)
    assert found["initial weights", "head.weight [2d]", "std"][1] == pytest.approx(0.5, rel=0.1)
    kinds = {key[1] for key in found if key[0] == "initial weights"}
    assert kinds == {"head.weight [2d]"}


def test_constants_that_differ_are_differences(mini):
    cfg = read_config(MINI)
    cfg.model.init_cfg = dict(
        type="smallvit.FinalInit",
        init_cfg=dict(type="Constant", layer="LayerNorm", val=0.5),
        modules=["backbone.patch_embed"],
    )
    found = differences(mini, recipe(cfg))
    assert found == {("initial weights", "patch_embed.norm.weight [1d]", "mean"): (1.0, 0.5)}


def test_text_has_every_value(mini):
    text = as_text(mini)
    for keys, _ in flatten(mini):
        assert keys[-1] in text


def test_tool_writes_the_recipe_and_draws_the_curve(tmp_path, capsys):
    out, table = tmp_path / "curve.png", tmp_path / "recipe.json"
    assert main(["recipe", str(CONFIGS / MINI), "--out", str(out), "--json", str(table)]) == 0
    assert "learning rate" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"\x89PNG")
    assert json.loads(table.read_text())["loader"]["training"] == "20 epochs"


def test_tool_compares(capsys):
    other = str(CONFIGS / "dw_shortcut/vit-mini_digits.py")
    assert main(["recipe", str(CONFIGS / MINI), "--compare", other]) == 0
    out = capsys.readouterr().out
    assert "modules / norms" in out
    assert main(["recipe", other, "--compare", other]) == 0
    assert "no difference" in capsys.readouterr().out


def test_config_without_training(tmp_path, capsys):
    config = tmp_path / "empty.py"
    config.write_text("a = 1\n")
    assert main(["recipe", str(config)]) == 1
    assert "a recipe requires model" in capsys.readouterr().err


def test_a_guided_recipe_needs_no_teacher(tmp_path, monkeypatch):
    """The weights and stored features of a teacher are files that may not exist yet."""
    monkeypatch.chdir(tmp_path)
    plain = recipe(read_config("dw_shortcut/vit-mini_digits.py"))
    guided = recipe(read_config("locality_guidance/vit-mini_guided-offline_digits.py"))
    assert guided["guidance"]["student_indices"]
    assert plain["guidance"] == {}
    assert any("projections" in kind for kind in guided["initial weights"])


def test_tool_says_that_iterations_are_assumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    detector = str(CONFIGS / "dwnet/dwnet-mini_digits-det.py")
    assert main(["recipe", detector]) == 0
    assert "100 iterations per epoch" in capsys.readouterr().out
    assert main(["recipe", detector, "--images", "80"]) == 0
    out = capsys.readouterr().out
    assert "iterations per epoch: 10" in out
    assert "assumed" not in out
