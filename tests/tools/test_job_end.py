"""How a job of several processes ends when one of them does."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys
import torch.distributed as dist
import torch
from smallvit.cli import UserError, run_tool

def main(argv):
    dist.init_process_group("gloo")
    if dist.get_rank() == 1:
        with open(__file__ + ".ended", "w"):
            pass
        {fault}
    while True:
        dist.all_reduce(torch.ones(1))

if __name__ == "__main__":
    sys.exit(run_tool(main, []))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "Signal 9 (SIGKILL)"),
        ("raise UserError('the seventh picture is upside down')", "the seventh picture is upside"),
    ],
)
def test_a_rank_that_ends_takes_the_job_with_it(fault, reason, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("{fault}", fault))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    job = subprocess.run(
        [sys.executable, *command, str(script)], capture_output=True, text=True, timeout=240
    )
    assert job.returncode != 0
    assert time.time() - Path(f"{script}.ended").stat().st_mtime < 60
    last_lines = "\n".join(job.stderr.splitlines()[-20:])
    assert reason in last_lines
    assert "rank      : 1" in last_lines
