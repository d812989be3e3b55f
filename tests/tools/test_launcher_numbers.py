"""Numeric arguments of launcher scripts are validated before they are used in arithmetic."""

import itertools
import os
import shutil
import subprocess

import pytest

from tool_helpers import ROOT

#: Strings that bash would execute in an arithmetic expression, and other non-integers.
HOSTILE = (
    *("BASH_VERSINFO[$(touch y; echo 0)]", "x[$(touch y)]", "$(touch y)", "`touch y`", "1;touch y"),
    *(
        "1+1",
        "-1",
        "08",
        "0x8",
        "1e3",
        " 4",
        "4 ",
        "9" * 30,
        "\N{FULLWIDTH DIGIT FOUR}",
        "processes",
    ),
    *("processes", "1\n2", "\x1b[2J"),
)
TRAIN = ("dist_train.sh", "c.py", "2")
TEST = ("dist_test.sh", "c.py", "c.pth", "2")
SLURM_TRAIN = ("slurm_train.sh", "part", "job", "c.py", "work")
SLURM_TEST = ("slurm_test.sh", "part", "job", "c.py", "c.pth")
VARIABLES = {
    TRAIN: ("NNODES", "NODE_RANK", "PORT"),
    TEST: ("NNODES", "NODE_RANK", "PORT"),
    SLURM_TRAIN: ("GPUS", "GPUS_PER_NODE", "CPUS_PER_TASK", "GRACE_SECONDS"),
    SLURM_TEST: ("GPUS", "GPUS_PER_NODE", "CPUS_PER_TASK"),
}
CASES = [(command, name) for command, names in VARIABLES.items() for name in names]


@pytest.fixture
def start(tmp_path):
    """Run a script with stubs for all programs that it starts, which record their calls."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python", "srun", "sbatch"):
        (programs / name).write_text(f'#!/bin/sh\necho "$0" "$@" >> {tmp_path}/started\n')
        (programs / name).chmod(0o755)

    def go(script, *argv, **variables):
        env = {"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **variables}
        done = subprocess.run(
            ["bash", script, *argv], cwd=tmp_path, env=env, capture_output=True, timeout=60
        )
        return done.returncode, done.stderr.decode(errors="replace")

    return go


@pytest.mark.parametrize(("command", "name"), CASES, ids=lambda case: str(case))
def test_hostile_variables(start, tmp_path, command, name):
    script, *argv = command
    for value in HOSTILE:
        status, message = start(ROOT / "tools" / script, *argv, **{name: value})
        assert not (tmp_path / "y").exists(), value
        assert not (tmp_path / "started").exists(), value
        assert status == 2, value
        assert f"error: {name} must be an integer" in message
        assert "\x1b" not in message
    assert start(ROOT / "tools" / script, *argv, **{name: "3"})[0] == 0
    assert (tmp_path / "started").exists()


@pytest.mark.parametrize("command", [TRAIN, TEST])
def test_hostile_numbers_of_processes(start, tmp_path, command):
    script, *argv, _ = command
    for value in (*HOSTILE, "0", ""):
        status, message = start(ROOT / "tools" / script, *argv, value)
        assert not (tmp_path / "y").exists(), value
        assert not (tmp_path / "started").exists(), value
        assert status == 2, value
        assert "error: the number of processes must be an integer of at least 1" in message


@pytest.mark.parametrize("value", ["BASH_VERSINFO[$(touch y; echo 0)]", "*"])
def test_options_of_srun_are_not_expanded(start, tmp_path, value):
    script, *argv = SLURM_TRAIN
    assert start(ROOT / "tools" / script, *argv, SRUN_ARGS=f"--qos=a {value}")[0] == 0
    assert not (tmp_path / "y").exists()
    words = (tmp_path / "started").read_text().split()
    assert words[words.index("--qos=a") + 1] == value.split()[0]


@pytest.mark.parametrize("value", HOSTILE[:5])
def test_invalid_processor_counts_of_the_system(start, tmp_path, value):
    system = tmp_path / "bin" / "getconf"
    system.write_text(f"#!/bin/sh\nprintf '%s' '{value}'\n")
    system.chmod(0o755)
    script, *argv = TRAIN
    assert start(ROOT / "tools" / script, *argv)[0] == 0
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    itertools.product(("SECONDS", "OMP_NUM_THREADS", "VENV", "PYTHON"), HOSTILE[:5]),
)
def test_the_quick_start_executes_no_variable(start, tmp_path, name, value):
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    # The environment is not created again: its Python is the stub.
    (tmp_path / "tools/misc/make_env.sh").write_text(f"echo {tmp_path}/bin/python\n")
    (tmp_path / "data/digit_scenes").mkdir(parents=True)
    start(tmp_path / "tools/quickstart.sh", **{name: value})
    assert "tools/train.py" in (tmp_path / "started").read_text()
    assert list(tmp_path.rglob("y")) == []


@pytest.mark.parametrize(("name", "value"), itertools.product(("VENV", "PYTHON"), HOSTILE[:5]))
def test_make_env_executes_no_variable(start, tmp_path, name, value):
    for part in ("tools/misc/make_env.sh", "setup.cfg", "pyproject.toml", "requirements"):
        (tmp_path / "copy" / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / "copy" / part)
    # The stub does not create an environment.
    variables = {"PYTHON": f"{tmp_path}/bin/python", name: value}
    start(tmp_path / "copy/tools/misc/make_env.sh", **variables)
    assert list(tmp_path.rglob("y")) == []


@pytest.mark.parametrize("has_torch", [True, False])
def test_the_checkout_s_environment_is_used_if_torch_is_missing(has_torch, tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/checks.sh", tmp_path / "tools")
    for place in ("bin", ".venv/bin"):
        python = tmp_path / place / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\nexit {int(not has_torch)}\n")
        python.chmod(0o755)
    own = str(tmp_path / ".venv/bin/python")
    for chosen in (None, "python3"):
        env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        env = {key: value for key, value in env.items() if key != "PYTHON"}
        env |= {"PYTHON": chosen} if chosen else {}
        done = subprocess.run(
            ["bash", "-c", "source tools/checks.sh; interpreter"],
            **dict(cwd=tmp_path, env=env, capture_output=True, text=True, check=True),
        )
        expected = chosen or ("python" if has_torch else own)
        assert done.stdout.strip() == expected
        assert (own in done.stderr) == (expected == own)
