"""Exported graphs in bfloat16 and int8, and predictors in bfloat16."""

import json
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from smallvit.apis import CascadeRunner, Predictor, Wish, export
from smallvit.apis.cascades import export_cascade
from smallvit.apis.exporting import METADATA, OLDEST_TORCH_OF_ONNX
from smallvit.apis.reduced_precision import Agreement, Bfloat16Graph, quantize, require_possible
from smallvit.cli.main import main
from smallvit.errors import UserError
from smallvit.utils.versions import release

BF16, INT8 = Wish(precision="bf16"), Wish(precision="int8")


@pytest.fixture
def predictor(checkpoints):
    return Predictor(checkpoints["classification"], device="cpu")


def _operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


def _precision(path):
    found = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert "smallvit.classes" in found
    return json.loads(found["smallvit.precision"])


@pytest.mark.skipif(
    release(torch.__version__) < release(OLDEST_TORCH_OF_ONNX),
    reason="the exporter of this torch does not support this graph",
)
def test_int8_by_the_command(checkpoints, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    (tmp_path / "cats").mkdir()
    for number in range(10):
        image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        image.save(tmp_path / "cats" / f"{number}.png")
    args = ["export", str(checkpoints["classification"]), "--precision", "int8"]
    args += ["--out", str(tmp_path / "x.onnx"), "--calibrate", str(tmp_path / "cats")]
    assert main([*args, "--images", str(tmp_path / "cats" / "0.png")]) == 0
    found = capsys.readouterr().out
    assert "calibrating on 10 images" in found
    assert "int8: same class as float32 for 2 of 2" in found
    assert "QuantizeLinear" in _operators(tmp_path / "x.onnx")
    about = _precision(tmp_path / "x.onnx")
    assert (about["type"], about["calibrated_on"], about["of"]) == ("int8", 10, 2)
    assert about["same"] == 2
    assert about["far"] < 0.2


def test_without_images_ranges_are_computed_in_each_call(tmp_path):
    pytest.importorskip("onnxruntime")
    helper, weight = onnx.helper, np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", (2, 8)), ("out", (2, 2)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Transpose", ["y"], ["z"]),
        helper.make_node("MatMul", ["y", "z"], ["out"]),
    ]
    held = [onnx.numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "a.onnx")
    quantize(str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"))
    found = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert found.count("MatMulInteger") == 1
    assert found.count("MatMul") == 1


def test_bf16_rounds_a_copy():
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    found = Bfloat16Graph(network)
    assert found(torch.ones(2, 4)).dtype == torch.float32
    assert [p.dtype for p in found.parameters()][::2] == [torch.bfloat16, torch.float32]
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.exhaustive
def test_bf16_holds_large_weights_in_bfloat16(predictor, tmp_path):
    said = []
    far = export(predictor, tmp_path / "x.pt2", "torch-export", BF16, tell=said.append)
    assert 0 < far < 0.1
    assert said[0].startswith("bf16: same class as float32 for 3")
    extra = {METADATA: ""}
    program = torch.export.load(tmp_path / "x.pt2", extra_files=extra)
    assert json.loads(extra[METADATA])["precision"]["of"] == 32
    found = {value.dtype for value in program.state_dict.values() if value.ndim == 4}
    assert found == {torch.bfloat16}
    assert program.module()(torch.zeros(3, 3, 32, 32)).dtype == torch.float32
    assert {p.dtype for p in predictor.model.parameters()} == {torch.float32}


def test_unsupported_combinations_are_rejected():
    for given, says in (
        (("onnx", "bf16", "classification", "whole", False), "torch-export, or int8"),
        (("torchscript", "int8", "classification", "whole", False), "requires --format onnx"),
        (("onnx", "int8", "detection", "whole", False), "--part backbone"),
        (("onnx", "fp32", "detection", "whole", True), "--calibrate requires --precision int8"),
        (("onnx", "fp8", "detection", "whole", False), "expected --precision fp32, bf16 or int8"),
    ):
        with pytest.raises(UserError, match=says):
            require_possible(*given)


def test_a_missing_quantizer_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'smallvit\[export\]'"):
        quantize(str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"))


def test_low_agreement_gives_advice():
    assert "--calibrate" in str(Agreement(90, 100, 0.5))
    assert "--calibrate" not in str(Agreement(96, 100, 0.5))
    assert str(Agreement(0, 0, 0.5)).startswith("differs from float32 by up to 5.0e-01")


@pytest.mark.exhaustive
@pytest.mark.parametrize("calibrated", [False, True])
def test_an_int8_cascade(checkpoints, tmp_path, calibrated):
    pytest.importorskip("onnxruntime")
    found = Predictor(checkpoints["cascade"], device="cpu")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(9)]
    said = []
    ranges = images if calibrated else None
    export_cascade(found, tmp_path / "graphs", INT8, images, ranges, said.append)
    assert [text.partition(",")[0] for text in said] == [f"exit {n}" for n in range(1, 4)]
    runner = CascadeRunner(tmp_path / "graphs", [0.0, 0.0])
    logits, exits = runner(np.zeros((5, 3, 32, 32), np.float32))
    assert np.isfinite(logits).all()
    assert (exits == 0).all()


def test_a_predictor_in_bfloat16(checkpoints, predictor):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = predictor(image).scores
    found = Predictor(checkpoints["classification"], device="cpu", precision="bf16")(image).scores
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.02
    with pytest.raises(UserError, match="smallvit export --precision int8"):
        Predictor(checkpoints["classification"], device="cpu", precision="int8")
