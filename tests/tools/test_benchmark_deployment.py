"""Table of export precisions: choice of the checkpoint and printed rows."""

import pytest

from smallvit.errors import UserError
from tool_helpers import load_tool

tool = load_tool("analysis_tools/benchmark_deployment.py")


def test_the_best_checkpoint_of_a_work_folder(tmp_path):
    with pytest.raises(UserError, match="not a work directory"):
        tool.trained_in(str(tmp_path))
    for name in ("x.py", "epoch_3.pth", "best_accuracy_top1_epoch_2.pth"):
        (tmp_path / name).touch()
    config, checkpoint = tool.trained_in(str(tmp_path))
    assert config.endswith("x.py")
    assert checkpoint.endswith("best_accuracy_top1_epoch_2.pth")


def test_times_are_beside_those_of_float32(capsys):
    fp32 = {"accuracy": 90.0, "same": 1.0, "ms_8": 4.0}
    int8 = {"accuracy": 89.5, "same": 0.99, "ms_8": 2.0}
    tool.report({"name": "vit", "forms": {"fp32": fp32, "onnx int8": int8}}, [8])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["vit", "fp32", "90.0", "1.000", "4.00", "(1.00x)"]
    assert second.split() == ["onnx", "int8", "89.5", "0.990", "2.00", "(2.00x)"]


@pytest.mark.exhaustive
def test_all_forms_of_a_network(checkpoints, tmp_path):
    pytest.importorskip("onnxruntime")
    import torch

    from smallvit.apis import Predictor

    predictor = Predictor(checkpoints["classification"], device="cpu")
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    forms = tool.forms_of_network(predictor, images, images, str(tmp_path))
    assert list(forms) == ["fp32", "bf16", *tool.GRAPHS]
    expected = tool.batched(forms["fp32"], images, 3)
    for run in forms.values():
        assert (tool.batched(run, images, 4) - expected).abs().max() < 0.1
