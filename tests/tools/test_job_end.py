"""Multi-process jobs end when one of their processes fails."""

import time
from functools import partial
from pathlib import Path

import pytest
import torch.distributed.run

from forked import Forked

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
        # The output of torchrun itself.
        pytest.param(
            *("os.kill(os.getpid(), signal.SIGKILL)", "Signal 9 (SIGKILL)"),
            marks=pytest.mark.exhaustive,
        ),
        ("raise UserError('the seventh picture is upside down')", "the seventh picture is upside"),
    ],
)
def test_the_job_ends_with_any_of_its_ranks(fault, reason, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("{fault}", fault))
    argv = ["--standalone", "--nproc_per_node", "2", str(script)]
    job = Forked(partial(torch.distributed.run.main, argv), tmp_path)
    _, said = job.communicate(timeout=240)
    assert job.returncode != 0
    assert time.time() - Path(f"{script}.ended").stat().st_mtime < 60
    last_lines = "\n".join(said.splitlines()[-20:])
    assert reason in last_lines
    assert "rank      : 1" in last_lines
