import json
import os
import subprocess
from pathlib import Path

import pytest

from forked import run_ranks
from run_helpers import preload
from tool_helpers import ROOT, load_tool, own_experiment, run_main, write_tiny_config

TOOLS = ROOT / "tools"


@pytest.fixture
def launch(tmp_path):
    """Run a launcher from another folder, with a stub in place of torchrun or srun."""
    recorder = tmp_path / "bin" / "python"
    recorder.parent.mkdir()
    # The launchers first use `python -c` to check for torch.
    recorder.write_text(
        '#!/bin/sh\n[ "$1" = -c ] || printf "%s\\n" "$0" "OMP=$OMP_NUM_THREADS" "$@"\n'
    )
    recorder.chmod(0o755)
    (recorder.parent / "srun").symlink_to(recorder)

    def go(script, *argv, **variables):
        env = {"PATH": f"{recorder.parent}:{os.environ['PATH']}", **variables}
        command = ["bash", TOOLS / script, *argv]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    return go


def test_dist_train_keeps_quoted_arguments_whole(launch):
    option = "data_root=/a b/c d"
    status, words, _ = launch("dist_train.sh", "my config.py", "8", "--cfg-options", option, "x=*")
    assert status == 0
    tool = words.index(str(TOOLS / "train.py"))
    assert words[tool + 1 :] == [
        *("my config.py", "--cfg-options", option, "x=*", "--launcher", "pytorch")
    ]
    assert words[2:tool] == [
        *(str(TOOLS / "launch.py"), "--nnodes", "1", "--nproc_per_node", "8", "--standalone")
    ]


def test_dist_test_passes_the_checkpoint(launch):
    _, words, _ = launch("dist_test.sh", "c.py", "my model.pth", "2", "--out", "a b.pkl")
    tool = words.index(str(TOOLS / "test.py"))
    assert words[tool + 1 : tool + 5] == ["c.py", "my model.pth", "--out", "a b.pkl"]


def test_several_nodes(launch):
    variables = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "host", "PORT": "1234"}
    _, words, _ = launch("dist_train.sh", "c.py", "4", **variables)
    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert options["--nnodes"] == "2"
    assert options["--node_rank"] == "1"
    assert options["--master_addr"] == "host"
    assert options["--master_port"] == "1234"
    _, words, _ = launch("dist_train.sh", "c.py", "4", NNODES="2")
    options = dict(zip(words[3::2], words[4::2], strict=False))
    assert (options["--node_rank"], options["--master_addr"]) == ("0", "127.0.0.1")
    assert options["--master_port"] == "29500"


def test_threads_per_process(launch):
    assert launch("dist_train.sh", "c.py", "10000")[1][1] == "OMP=1"
    assert launch("dist_train.sh", "c.py", "2", OMP_NUM_THREADS="3")[1][1] == "OMP=3"


@pytest.mark.parametrize("script", ["dist_train.sh", "dist_test.sh", "slurm_train.sh"])
def test_too_few_arguments_show_the_usage(launch, script):
    status, words, message = launch(script, "c.py")
    assert status == 2
    assert not words
    assert f"bash tools/{script}" in message


def test_number_of_processes_is_checked(launch):
    status, words, message = launch("dist_train.sh", "c.py", "--amp")
    assert status == 2
    assert not words
    assert "'--amp'" in message


@pytest.mark.parametrize(
    ("script", "tool", "fourth"),
    [("slurm_train.sh", "train.py", ["--work-dir", "w d"]), ("slurm_test.sh", "test.py", ["w d"])],
)
def test_slurm(launch, script, tool, fourth):
    variables = {"GPUS": "4", "GPUS_PER_NODE": "2", "SRUN_ARGS": "--qos=a --time=1"}
    status, words, _ = launch(script, "part", "job", "c.py", "w d", "--x", "a b", **variables)
    assert status == 0
    position = words.index(str(TOOLS / tool))
    assert words[position + 1 :] == ["c.py", *fourth, "--x", "a b", "--launcher", "slurm"]
    head = words[2:position]
    assert head[:2] == ["-p", "part"]
    assert {"--job-name", "job", "--qos=a", "--time=1", "gpu:2", "--kill-on-bad-exit=1"} <= set(
        head
    )
    assert head[head.index("--ntasks") + 1] == "4"
    _, words, _ = launch(script, "part", "job", "c.py", "w d", GPUS_PER_NODE="0")
    assert "--gres" not in words


def test_two_processes_on_cpu(tmp_path):
    """Train on two processes; the metric of the checkpoint is the same on one process and on two.

    The launcher itself is tested with a preempted run in test_preemption.py.
    """
    preload("mmpretrain")
    config = write_tiny_config(tmp_path)
    work_dir = tmp_path / "two words"
    train, test = (load_tool(f"{name}.py").main for name in ("train", "test"))

    def on_two(main, *argv):
        output = tmp_path / "output"
        launched = (config, *argv, "--launcher", "pytorch", "--work-dir", work_dir)
        statuses = run_ranks(lambda: run_main(main, *launched), 2, output)
        assert statuses == [0, 0], output.read_text()[-3000:]
        return output.read_text()

    said = on_two(train, "--no-validate", "--amp")
    assert said.count("running on 2 CPU processes with gloo") == 1
    assert "Epoch(train) [2][2/2]" in said

    checkpoint = work_dir / "epoch_2.pth"
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    # Nine samples cannot be divided by two: one process gets a sample twice.
    extra = next(Path(tmp_path / "data/test").glob("*/0.png"))
    extra.unlink()
    on_two(test, checkpoint, "--out", files[1], "--out-item", "metrics")
    argv = (config, checkpoint, "--work-dir", work_dir, "--out", files[0], "--out-item", "metrics")
    assert run_main(test, *argv, "--cfg-options", own_experiment()) == 0
    one, two = (json.loads(file.read_text()) for file in files)
    assert one == pytest.approx(two, rel=1e-6)
