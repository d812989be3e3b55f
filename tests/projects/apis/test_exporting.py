"""Model export: exported graphs match PyTorch for any batch size."""

import json

import numpy as np
import onnx
import pytest
import torch
from mmdet.structures import DetDataSample

from smallvit.apis import CascadeRunner, Predictor, Wish, export, load_model
from smallvit.apis.cascades import export_cascade
from smallvit.apis.exporting import METADATA, OLDEST_TORCH_OF_ONNX, compare, write_graph
from smallvit.apis.graphs import graph_of, run_all
from smallvit.cli.main import main
from smallvit.errors import UserError
from smallvit.utils.versions import release

onnx_exporter = pytest.mark.skipif(
    release(torch.__version__) < release(OLDEST_TORCH_OF_ONNX),
    reason="the exporter of this torch does not support these graphs",
)
free_sizes = pytest.mark.skipif(
    not hasattr(torch.export.Dim, "DYNAMIC"), reason="this torch only exports static shapes"
)


@pytest.fixture
def predictor(checkpoints):
    return lambda task: Predictor(checkpoints[task], device="cpu")


@onnx_exporter
def test_a_classifier_with_its_preprocessing(checkpoints, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "x.onnx"
    args = ["export", str(checkpoints["classification"]), "--out", str(path), "--preprocess"]
    assert main(args) == 0
    assert "differs from PyTorch by" in capsys.readouterr().out
    found = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert json.loads(found["smallvit.classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(found["smallvit.input"])["size"] == [32, 32]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    predicted = Predictor(checkpoints["classification"], device="cpu")(image)
    fed = image.transpose(2, 0, 1)[None].astype(np.float32)
    assert np.allclose(session.run(None, {"images": fed})[0][0], predicted.scores, atol=1e-5)
    assert main(args) == 1
    assert "already exists" in capsys.readouterr().err


@onnx_exporter
@pytest.mark.exhaustive
@pytest.mark.parametrize("conv", ["dynamic", "inhomogeneous"])
def test_graphs_with_predicted_kernels_accept_any_batch(tmp_path, conv, small_config):
    cfg = small_config("classification")
    cfg.model.backbone.conv = conv
    torch.save({"state_dict": load_model(cfg).state_dict()}, tmp_path / "x.pth")
    export(Predictor(tmp_path / "x.pth", cfg, device="cpu"), tmp_path / "x.onnx")


@free_sizes
@pytest.mark.parametrize(
    ("task", "part"),
    [
        ("classification", "whole"),
        pytest.param("segmentation", "whole", marks=pytest.mark.exhaustive),
        pytest.param("detection", "backbone", marks=pytest.mark.exhaustive),
    ],
)
def test_formats_of_torch(predictor, tmp_path, task, part):
    found = predictor(task)
    assert export(found, tmp_path / "x.pt2", "torch-export", Wish(part=part)) < 1e-4
    extra = {METADATA: ""}
    torch.export.load(tmp_path / "x.pt2", extra_files=extra)
    assert json.loads(extra[METADATA])["task"] == task


def test_torchscript_is_reported_as_deprecated(checkpoints, tmp_path, capsys):
    args = ["export", str(checkpoints["classification"]), "--out", str(tmp_path / "x.pt")]
    assert main([*args, "--format", "torchscript"]) == 0
    assert "deprecated" in capsys.readouterr().out
    assert torch.jit.load(tmp_path / "x.pt")(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("masks", [True, False])
def test_the_graph_of_a_detector_finds_what_mmdet_finds(small_config, checkpoints, masks):
    cfg = small_config("detection")
    if not masks:
        cfg.model.roi_head.mask_head = cfg.model.roi_head.mask_roi_extractor = None
    cfg.model.test_cfg.rcnn.update(score_thr=0.09, max_per_img=40)
    torch.manual_seed(3)
    model = load_model(cfg)
    model.init_weights()
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255
    graph = graph_of(model, "detection", True, images)
    boxes, scores, labels, *rest = run_all(graph, images)
    sample = DetDataSample(
        metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), scale_factor=(1, 1))
    )
    (found,) = model.test_step({"inputs": [images[0]], "data_samples": [sample]})
    found = found.pred_instances
    count = len(found)
    assert 0 < count == (scores > 0).sum()
    assert torch.allclose(scores[:count], found.scores, atol=1e-6)
    assert torch.allclose(boxes[:count], found.bboxes, atol=1e-4)
    assert torch.equal(labels[:count], found.labels)
    assert len(rest) == masks
    for masks_of_boxes in rest:
        assert masks_of_boxes.shape == (len(scores), 28, 28)
        assert not masks_of_boxes[count:].any()


@onnx_exporter
@pytest.mark.exhaustive
def test_a_detector_in_onnx(predictor, tmp_path):
    pytest.importorskip("onnxruntime")
    found = predictor("detection")
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    assert export(found, tmp_path / "x.onnx", images=[image]) < 1e-4
    graph = onnx.load(tmp_path / "x.onnx").graph
    assert {node.domain for node in graph.node} == {""}
    assert [each.name for each in graph.output] == ["boxes", "scores", "labels", "masks"]


def test_unsupported_exports_are_rejected(predictor, tmp_path):
    found = predictor("detection")
    with pytest.raises(UserError, match="--dynamic-size"):
        export(found, tmp_path / "x.pt2", "torch-export", Wish(dynamic_size=True))
    found.model.test_cfg.rcnn.nms.type = "soft_nms"
    with pytest.raises(UserError, match="ONNX supports only nms"):
        export(found, tmp_path / "x.pt2", "torch-export")
    found.model.roi_head = torch.nn.Identity()
    with pytest.raises(UserError, match=r"roi_head is a Identity.*--part backbone"):
        export(found, tmp_path / "x.pt2", "torch-export")
    with pytest.raises(UserError, match="expected a format of"):
        export(predictor("classification"), tmp_path / "x", "caffe")
    assert list(tmp_path.iterdir()) == []


def test_wrong_graphs_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("smallvit.apis.exporting._difference", lambda *_: 0.1)
    inputs = (torch.ones(2, 3),)
    with pytest.raises(UserError, match=r"differs from PyTorch .*was deleted"):
        write_graph(torch.nn.Identity(), inputs, tmp_path / "x.pt", "torchscript", Wish(), {})
    assert list(tmp_path.iterdir()) == []


def test_onnx_names_the_torch_that_it_needs(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(torch, "__version__", "2.4.1+cu121")
    with pytest.raises(UserError, match=r"torch 2\.4\.1.* Use torch 2\.7 or later, or --format"):
        write_graph(torch.nn.Identity(), (torch.ones(2, 3),), tmp_path / "x", "onnx", Wish(), {})


def test_nan_values_differ():
    graph = torch.nn.Identity()
    inputs = (torch.ones(2, 3),)
    with pytest.raises(UserError, match="by inf"):
        compare(graph, inputs, lambda x: (x * float("nan"),), Wish())
    with pytest.raises(UserError, match="does not accept a batch of 1"):
        compare(graph, inputs, lambda x: (x.view(2, 3),), Wish())


@onnx_exporter
@pytest.mark.exhaustive
def test_a_cascade_leaves_early(predictor, tmp_path):
    pytest.importorskip("onnxruntime")
    found = predictor("cascade")
    assert export_cascade(found, tmp_path / "graphs", Wish()) < 1e-4
    images = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 8
    for thresholds in ([0.11, 0.11, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]):
        found.model.set_inference(mode="budgeted", thresholds=thresholds[:2])
        with torch.no_grad():
            logits, exits = found.model.predict_budgeted(images)
        runner = CascadeRunner(tmp_path / "graphs", thresholds)
        theirs, left = runner(images.numpy())
        assert np.array_equal(left, exits.numpy())
        assert np.allclose(theirs, logits.numpy(), atol=1e-4)
    runner = CascadeRunner(tmp_path / "graphs", max_gflops=1.6e6)
    assert runner.thresholds == [0.0, 0.0]
    with pytest.raises(UserError, match="either thresholds or max_gflops"):
        CascadeRunner(tmp_path / "graphs")
    with pytest.raises(UserError, match="contains no exported cascade"):
        CascadeRunner(tmp_path, [0.0, 0.0])
