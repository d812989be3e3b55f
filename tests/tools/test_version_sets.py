"""Version sets with which the tests are run."""

import re
import subprocess

from tool_helpers import ROOT, load_tool

REQUIREMENTS = ROOT / "requirements"
check_env = load_tool("misc/check_env.py")


def test_the_oldest_set_has_the_lower_bounds_of_the_requirements():
    text = (REQUIREMENTS / "sets/oldest.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", text, flags=re.MULTILINE))
    ranges = check_env.requirements()
    floors = {name: re.search(r">=([\d.]+)", ranges[name]) for name in pins if name in ranges}
    assert len(floors) > 8
    for name, floor in floors.items():
        if floor is not None:
            assert f"{pins[name]}.".startswith(f"{floor[1]}."), name


def test_the_workflow_runs_all_sets():
    script = (ROOT / "tools/misc/test_versions.sh").read_text()
    workflow = (ROOT / ".github/workflows/tests.yml").read_text()
    sets = re.search(r"^sets=\((.+)\)$", script, re.MULTILINE)[1].split()
    assert re.findall(r"set: (\w+)", workflow) == sets


def test_an_unknown_set_is_named():
    tool = ROOT / "tools/misc/test_versions.sh"
    done = subprocess.run(["bash", tool, "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown set nothing; available: oldest tested newest forks full" in done.stderr
