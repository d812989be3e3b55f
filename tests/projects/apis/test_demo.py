"""Web demo: the inference functions without gradio, and the page if gradio is installed."""

import sys

import numpy as np
import pytest
from PIL import Image

from smallvit.apis import Predictor
from smallvit.apis.demo import Answer, Controls, DemoModel
from smallvit.cli import demo
from smallvit.engine.trained_models import load_trained
from smallvit.errors import UserError
from tool_helpers import run_main


@pytest.fixture(scope="module")
def models(checkpoints):
    """Return a function that builds the model of a task once."""
    made = {}

    def model(task):
        if task not in made:
            made[task] = DemoModel(Predictor(checkpoints[task], device="cpu", score_thr=0.0))
        return made[task]

    return model


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "upload" / "seven.png"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_classifier_answers(models, picture):
    model = models("classification")
    assert model.controls == Controls()
    found = model(picture)
    assert not found.failed
    assert found.picture.ndim == 3
    assert found.picture.dtype == np.uint8
    assert len(found.scores) == 5
    assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
    assert next(iter(found.scores)) == model.predictor(picture).name
    assert "48x40 pixels" in found.message


def test_a_detector_answers_above_its_threshold(models, picture):
    model = models("detection")
    assert model.controls == Controls(threshold=True)
    every, none = model(picture, threshold=0.0), model(picture, threshold=1.0)
    assert every.rows
    assert len(every.rows[0]) == 6
    assert not none.rows
    assert "No object with a score of at least 1.00" in none.message


def test_a_segmentor_answers(models, picture):
    found = models("segmentation")(picture)
    assert sum(row[1] for row in found.rows) == 48 * 40
    assert found.message.startswith("Pixels: ")


def test_a_calibrated_cascade_has_a_budget(models, picture, checkpoints):
    model = models("cascade")
    least, most = model.controls.budget
    assert (least, most) == (1.5e6, 2.5e6)
    for budget in (least, most, 0.0):  # the slider may round its value below the minimum
        assert "left at exit" in model(picture, budget=budget).message
    # An uncalibrated cascade has one choice per exit.
    trained = load_trained(checkpoints["cascade"])
    trained.calibration = None
    model.predictor.model, kept = trained, model.predictor.model
    try:
        bare = DemoModel(model.predictor)
        assert bare.controls == Controls(exits=3)
        assert "left at exit 2" in bare(picture, exit_number=2).message
    finally:
        model.predictor.model = kept


def test_errors_are_shown_without_paths(models, tmp_path, monkeypatch, capsys):
    model = models("classification")
    assert model(None) == Answer("Choose an image.", failed=True)
    broken = tmp_path / "upload.png"
    broken.write_bytes(b"no image")
    found = model(str(broken))
    assert found.failed
    assert found.message.startswith("No prediction: upload.png")
    assert str(tmp_path) not in found.message

    def fail(images):
        raise RuntimeError(f"inside {tmp_path}")

    Image.new("RGB", (8, 8)).save(broken)
    monkeypatch.setattr(model.predictor, "predict_arrays", fail)
    found = model(str(broken))
    assert found.message == "The prediction failed (RuntimeError). See the console."
    assert "inside" in capsys.readouterr().err


def test_without_gradio_the_extra_is_named(checkpoints, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    assert run_main(demo.main, checkpoints["classification"]) == 1
    assert "pip install 'smallvit[demo]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--score-thr", "3"], "between 0 and 1"),
        (["--port", "70000"], "65535"),
        (["--port", "0"], "positive"),
    ],
)
def test_incompatible_flags_are_rejected(argv, text, capsys):
    assert run_main(demo.main, "x.pth", *argv) == 2
    assert text in capsys.readouterr().err


def test_the_page_is_only_served_locally_by_default():
    args = demo.parse_args(["x.pth"])
    assert demo._is_loopback(args.host)
    assert not args.open
    assert not demo._is_loopback("0.0.0.0")
    assert demo._plain("a*b <c>") == "a\\*b &lt;c&gt;"


def test_slider_limits_are_rounded():
    assert demo.slider_ends(0.9078015573322773, 10.57558972388506) == (0.9, 10.58)
    assert demo.slider_ends(123456.7, 123556.7) == (123456.0, 123557.0)
    assert demo.slider_ends(1e-4, 1.2345e-3) == (1e-4, 1.24e-3)


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation", "cascade"])
def test_pages(task, models, picture):
    gradio = pytest.importorskip("gradio")
    page = demo.build_page(gradio, models(task), "a<b>.pth", "cpu")
    (answer,) = {one.fn for one in page.fns.values()}
    slider = {"detection": [0.5], "cascade": [2e6]}.get(task, [])
    text, *shown = answer(picture, *slider)
    assert "pixels" in text
    assert len(shown) == 2
    text, *shown = answer(None, *slider)
    assert text.startswith("**Choose an image")


def test_a_used_port_is_reported(monkeypatch):
    class Page:
        def launch(self, **flags):
            assert flags["share"] is False
            assert flags["server_name"] == "127.0.0.1"
            raise OSError("cannot find an empty port")

    class Gradio:
        class themes:  # noqa: N801
            Default = dict

    with pytest.raises(UserError, match="--port 80: cannot serve"):
        demo._serve(Gradio, Page(), demo.parse_args(["x.pth", "--port", "80"]))
