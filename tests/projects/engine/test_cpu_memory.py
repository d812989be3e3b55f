"""Reuse of freed memory, in processes of their own because it applies to a whole process."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

FILE = find_spec("smallvit.engine.cpu_memory").origin
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc only")

# The file alone: importing the package takes seconds.
SCRIPT = """
import resource, runpy, sys

print(runpy.run_path(sys.argv[1])["keep_freed_memory"]())
for step in range(20):
    if step == 2:
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


def page_faults(**environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, FILE],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


def test_freed_memory_is_reused():
    kept, few = page_faults()
    if not kept:
        pytest.skip("not glibc")
    left_alone, many = page_faults(GLIBC_TUNABLES="glibc.malloc.arena_max=8")
    assert not left_alone
    assert few < many / 10


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"])
def test_settings_of_the_user_are_kept(name):
    assert page_faults(**{name: "131072"})[0] is False
