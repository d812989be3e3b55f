from config_helpers import CONFIGS
from tool_helpers import load_tool, run_main

print_recipe = load_tool("misc/print_recipe.py")


def test_prints_what_the_command_prints(capsys):
    config = CONFIGS / "locality_guidance/resnet-20_digits.py"
    assert run_main(print_recipe.main, config, "--cfg-options", "train_cfg.max_epochs=3") == 0
    out = capsys.readouterr().out
    assert "training: 3 epochs" in out
    assert "sum of epoch means" in out


def test_a_missing_config_is_named(capsys):
    assert run_main(print_recipe.main, "nowhere.py") == 1
    assert "no such config file: nowhere.py" in capsys.readouterr().err
