"""The ``smallvit`` command."""

import subprocess
import sys

import pytest

from smallvit.cli import main as command
from tool_helpers import ROOT


def test_help_lists_the_verbs_and_imports_nothing_heavy():
    code = (
        "import sys; from smallvit.cli.main import main; status = main(['--help']); "
        "heavy = {'torch', 'mmpretrain', 'matplotlib'} & set(sys.modules); "
        "sys.exit(status or (str(heavy) if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for verb in command.VERBS:
        assert f"  {verb}" in done.stdout


@pytest.mark.parametrize("verb", command.VERBS)
def test_each_command_has_help(verb, capsys):
    with pytest.raises(SystemExit) as left:
        command.main([verb, "--help"])
    assert left.value.code == 0
    assert f"usage: smallvit {verb}" in capsys.readouterr().out


def test_a_missing_command_is_an_error(capsys):
    assert command.main([]) == 2
    assert "usage: smallvit" in capsys.readouterr().out


def test_a_misspelled_command_names_the_nearest(capsys):
    assert command.main(["recipes"]) == 2
    assert "did you mean recipe?" in capsys.readouterr().err


def test_version(capsys):
    import smallvit

    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"smallvit {smallvit.__version__}\n"


def test_module_runs_it():
    done = subprocess.run(
        [sys.executable, "-m", "smallvit", "nothing"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert "unknown command 'nothing'" in done.stderr


def test_installing_makes_the_command():
    from configparser import ConfigParser

    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options.entry_points"]["console_scripts"].split("\n") == [
        "",
        "smallvit = smallvit.cli.main:main",
    ]
