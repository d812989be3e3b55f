"""Calibration in checkpoints: stored with the weights and restored by every loader."""

import json
from types import SimpleNamespace

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, get_state_dict, load_checkpoint, load_state_dict
from mmpretrain.structures import DataSample

from smallvit.apis import load_model
from smallvit.converters import unwrap
from smallvit.engine.checkpoint.formats import read_safetensors, write_safetensors
from smallvit.errors import CalibrationError, CheckpointError, UserError
from smallvit.plugins.multi_exit import AccuracyCostCurve, Calibration, CalibrationHook
from smallvit.plugins.multi_exit.storage import official_calibration, with_calibration
from smallvit.plugins.multi_exit.stored import EXTRA_STATE, from_tensor, to_tensor
from smallvit.registry import MODELS

ARCH = dict(embed_dims=8, num_layers=1, num_heads=1, feedforward_channels=8)
GRIDS = (
    dict(kernel_sizes=(8, 1), strides=(8, 2), paddings=(0, 0)),
    dict(kernel_sizes=(4, 1), strides=(4, 2), paddings=(0, 0)),
)
EXITS = [
    dict(type="smallvit.T2TViT", arch=ARCH, img_size=32, token_dims=4, token_grid=grid)
    for grid in GRIDS
]
MODEL = dict(
    type="smallvit.MultiExitClassifier",
    backbone=dict(type="smallvit.DynamicViT", exits=EXITS),
    head=dict(type="smallvit.MultiExitHead", num_exits=2, num_classes=3, in_channels=8),
)
CFG = Config(dict(default_scope="mmpretrain", model=MODEL))
CURVE = AccuracyCostCurve([50.0, 60.0], [50.0, 55.0, 60.0], [1.0, 1.5, 3.0], 7)


def calibration(first=0.5, policy="max_softmax"):
    rows = [[-1e8, -1e8], [first, -1e8], [1e8, -1e8]]
    return Calibration([1.0, 3.0], rows, CURVE, policy=policy)


def classifier(calibrated=None):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(MODEL).eval()
    model.calibration = calibrated
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints by kind: current and former layout of calibrate.py, and uncalibrated."""
    folder = tmp_path_factory.mktemp("files")
    weights = classifier().state_dict()
    meta = {"meta": {"dataset_meta": {"classes": ["a", "b", "c"]}}}
    contents = {
        "new": {**with_calibration(weights, calibration()), **meta},
        "old": {"state_dict": weights, "multi_exit": calibration().to_dict(), **meta},
        "plain": {"state_dict": weights, **meta},
    }
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pth")
    return {name: str(folder / f"{name}.pth") for name in contents}


def serves(model):
    """Predict with a budget, which requires the calibration."""
    model.set_inference(mode="budgeted", max_gflops=1.5)
    assert model.thresholds == [0.5, -1e8]
    sample = model.predict(torch.randn(2, 3, 32, 32))[0]
    return sample.exit_index in (0, 1)


class TestStateDict:
    def test_checkpoints_contain_the_calibration(self):
        state = classifier(calibration(0.7, "margin")).state_dict()
        assert state[EXTRA_STATE].dtype == torch.uint8
        for load in (lambda m: m.load_state_dict(state), lambda m: load_state_dict(m, state, True)):
            fresh = classifier()
            load(fresh)
            assert fresh.calibration == calibration(0.7, "margin")

    def test_loading_uncalibrated_weights_removes_thresholds(self):
        state = classifier().state_dict()
        assert EXTRA_STATE not in state
        for load in (lambda m: m.load_state_dict(state), lambda m: load_state_dict(m, state, True)):
            model = classifier(calibration())
            load(model)
            assert model.calibration is None

    def test_training_discards_the_calibration(self):
        model = classifier(calibration())
        assert EXTRA_STATE not in model.train().state_dict()
        assert EXTRA_STATE in get_state_dict(model.eval())
        images, sample = torch.randn(2, 3, 32, 32), DataSample().set_gt_label(1)
        model.train().loss(images, [sample, sample])
        assert EXTRA_STATE not in model.eval().state_dict()
        model.calibration = calibration(0.8)
        assert EXTRA_STATE in model.state_dict()

    def test_an_average_of_the_weights_has_the_entries_of_a_model_in_training(self, files):
        """MMEngine swaps the entries of the two state dicts when saving."""
        average = ExponentialMovingAverage(classifier().train())
        load_checkpoint(average.module, files["new"])
        model = classifier().train()
        assert {key.removeprefix("module.") for key in average.state_dict()} - {"steps"} == set(
            model.state_dict()
        )

    def test_every_file_format_keeps_the_calibration(self, tmp_path):
        state = classifier(calibration()).state_dict()
        torch.save(state, tmp_path / "a.pth")
        write_safetensors(str(tmp_path / "a.safetensors"), state)
        for found in (
            torch.load(tmp_path / "a.pth", weights_only=True),
            read_safetensors(str(tmp_path / "a.safetensors"))["state_dict"],
        ):
            fresh = classifier()
            fresh.load_state_dict(found)
            assert fresh.calibration == calibration()

    def test_converters_drop_the_calibration(self):
        assert (
            unwrap(classifier(calibration()).state_dict()).keys()
            == classifier().state_dict().keys()
        )

    def test_another_number_of_exits_is_refused(self):
        other = Calibration([1.0, 2.0, 3.0], [[0.5, 0.5, -1e8]])
        state = {**classifier().state_dict(), EXTRA_STATE: to_tensor(other.to_dict())}
        with pytest.raises(CalibrationError, match="for 3 exits, but the model has 2"):
            classifier().load_state_dict(state)


class TestLoading:
    def test_get_model(self, files):
        assert serves(mmpretrain.get_model(CFG, files["new"]))

    def test_load_checkpoint_of_mmengine(self, files):
        model = classifier()
        load_checkpoint(model, files["new"], strict=True)
        assert serves(model)

    @pytest.mark.parametrize(("kind", "hooks"), [("new", []), ("old", [CalibrationHook()])])
    def test_a_runner(self, files, tmp_path, kind, hooks):
        runner = Runner(
            classifier(), str(tmp_path), custom_hooks=hooks, experiment_name=tmp_path.name
        )
        runner.load_checkpoint(files[kind], strict=True)
        assert serves(runner.model)

    @pytest.mark.parametrize("kind", ["new", "old"])
    def test_load_model(self, files, kind, tmp_path):
        CFG.dump(str(tmp_path / "config.py"))
        for config in (CFG, str(tmp_path / "config.py")):
            model = load_model(config, files[kind])
            assert serves(model)
            assert model.dataset_meta["classes"] == ["a", "b", "c"]

    def test_two_calibrations_in_one_file_are_refused(self, files, tmp_path):
        content = torch.load(files["new"], weights_only=True)
        content["multi_exit"] = calibration(0.9).to_dict()
        torch.save(content, tmp_path / "two.pth")
        with pytest.raises(CalibrationError, match="different calibrations under 'multi_exit'"):
            load_model(CFG, tmp_path / "two.pth")
        runner = Runner(
            classifier(),
            str(tmp_path),
            custom_hooks=[CalibrationHook()],
            experiment_name=tmp_path.name,
        )
        with pytest.raises(CalibrationError, match="different calibrations"):
            runner.load_checkpoint(str(tmp_path / "two.pth"))

    def test_without_a_calibration_the_error_says_what_to_do(self, files):
        model = load_model(CFG, files["plain"])
        model.set_inference(mode="budgeted", max_gflops=1.5)
        with pytest.raises(ValueError, match=r"Run tools/multi_exit/calibrate\.py"):
            model.predict(torch.randn(2, 3, 32, 32))

    def test_weights_of_another_model(self, tmp_path):
        torch.save({"state_dict": {"head.weight": torch.ones(1)}}, tmp_path / "other.pth")
        with pytest.raises(
            CheckpointError, match=r"(?s)does not match the model.*in the file.*head\.weight"
        ):
            load_model(CFG, tmp_path / "other.pth")


def test_a_second_calibration_is_used():
    model = classifier(calibration(0.5))
    model.set_inference(mode="budgeted", max_gflops=1.5)
    assert model.thresholds == [0.5, -1e8]
    model.calibration = calibration(0.9)
    assert model.thresholds == [0.9, -1e8]


def bad(**changes):
    layout = {**calibration().to_dict(), **changes}
    return {key: value for key, value in layout.items() if value != "left out"}


MALFORMED = {
    "list": [1, 2],
    "text": "flops",
    "version": bad(version=2),
    "no flops": bad(flops="left out"),
    "no thresholds": bad(thresholds="left out"),
    "flops of text": bad(flops=["a", "b"]),
    "flops of one number": bad(flops=3),
    "no exits": bad(flops=[], thresholds=[], temperatures=None, calibration=None),
    "flops of zero": bad(flops=[0.0, 1.0]),
    "flag for a number": bad(flops=[True, 1.0]),
    "dict of thresholds": bad(thresholds={"0": [0.5, 0.5]}),
    "short row": bad(thresholds=[[0.5]]),
    "nested row": bad(thresholds=[[[0.5], 0.5]]),
    "temperature of zero": bad(temperatures=[0.0, 1.0]),
    "one temperature": bad(temperatures=[1.0]),
    "policy": bad(policy={"type": "os.system", "command": "x"}),
    "curve of text": bad(calibration="best"),
    "curve without costs": bad(calibration={"anytime": [], "accuracy": []}),
    "curve of other length": bad(
        calibration={"anytime": [1.0, 1.0], "accuracy": [1.0], "flops": [1.0]}
    ),
    "images below zero": bad(
        evaluation={"anytime": [], "accuracy": [], "flops": [], "num_images": -1}
    ),
    "unknown entry": bad(more=1),
    "huge flops": bad(flops=[1.0, 10**400]),
    "huge number of images": bad(
        evaluation={"anytime": [], "accuracy": [], "flops": [], "num_images": 10**5000}
    ),
    "infinity": bad(thresholds=[[float("inf"), 0.5]]),
    "version of text": bad(version="1"),
    "true version": bad(version=True),
}


@pytest.mark.parametrize("layout", MALFORMED.values(), ids=MALFORMED)
def test_malformed_calibrations_are_refused_in_a_sentence(layout):
    with pytest.raises(CalibrationError) as refused:
        Calibration.from_dict(layout)
    assert len(str(refused.value)) < 400
    try:
        state = torch.tensor(list(json.dumps(layout).encode()), dtype=torch.uint8)
    except ValueError:  # Python does not print integers with thousands of digits
        return
    with pytest.raises(CalibrationError):
        classifier().set_extra_state(state)


@pytest.mark.parametrize(
    "state",
    [
        None,
        {"flops": [1.0]},
        torch.ones(3),
        torch.tensor([[1]], dtype=torch.uint8),
        torch.tensor(list(b"{"), dtype=torch.uint8),
        torch.tensor([255, 254], dtype=torch.uint8),
        torch.tensor(list(b"[" * 100_000), dtype=torch.uint8),
        torch.tensor(
            list(b'{"version": 1, "flops": [NaN, 1], "thresholds": []}'), dtype=torch.uint8
        ),
    ],
)
def test_malformed_entries_are_refused_in_a_sentence(state):
    with pytest.raises(CalibrationError):
        classifier().set_extra_state(state)


def test_a_deep_calibration_is_refused_in_a_sentence():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for layout in (deep, bad(flops=deep), bad(policy=deep), bad(version=deep), {"version": deep}):
        with pytest.raises(CalibrationError):
            Calibration.from_dict(layout)
    with pytest.raises(CalibrationError):
        official_calibration({"flops": deep})


@pytest.mark.parametrize("kind", ["new", "old"])
def test_a_damaged_calibration_only_affects_budgets(files, tmp_path, kind, monkeypatch):
    """Weights can be loaded, tested and calibrated again; budgets raise an error."""
    from smallvit.plugins.multi_exit import storage

    said = []
    monkeypatch.setattr(storage, "print_log", lambda text, **_: said.append(text))
    content = torch.load(files[kind], weights_only=True)
    content["multi_exit"] = bad(flops=[-1.0, 1.0])
    if kind == "new":
        content["state_dict"][EXTRA_STATE] = torch.tensor(list(b"{"), dtype=torch.uint8)
    path = str(tmp_path / "damaged.pth")
    torch.save(content, path)
    runner = Runner(
        classifier(),
        str(tmp_path),
        custom_hooks=[CalibrationHook()],
        experiment_name=tmp_path.name,
    )
    runner.load_checkpoint(path, strict=True)
    for model in (runner.model, load_model(CFG, path)):
        assert model.calibration is None
        assert len(model.eval().predict(torch.randn(1, 3, 32, 32))) == 1
        model.set_inference(mode="budgeted", max_gflops=1.5)
        with pytest.raises(ValueError, match=r"Run tools/multi_exit/calibrate\.py"):
            model.predict(torch.randn(1, 3, 32, 32))
    assert any("flops to be positive numbers, got [-1.0, 1.0]" in text for text in said)
    assert all("the weights are loaded without it" in text for text in said)


def test_malformed_official_entries():
    for entries in (
        {"flops": 7},
        {"flops": [1.0], "dynamic_threshold": 0.5},
        {"flops": [1.0], "budgeted_batch_classification": 1.0},
        {"flops": [1.0], "budgeted_batch_classification": [1.0, 2.0]},
        {"flops": "many"},
        {"flops": [1.0, 2.0], "dynamic_threshold": [0.5]},
        {"flops": [1.0], "budgeted_batch_classification": [[1.0]]},
        {"flops": [1.0], "anytime_classification": [1.0, 2.0]},
    ):
        with pytest.raises(CalibrationError):
            official_calibration(entries)


def test_empty_entries_are_ignored():
    assert from_tensor(to_tensor(None)) is None


class TestWhereACalibrationComesFrom:
    def chosen(self, hook, **cfg):
        return hook._loader_config(SimpleNamespace(cfg=Config(cfg)))

    def test_calibration_images_of_a_config_are_those_of_calibrate_py(self):
        assert self.chosen(CalibrationHook(), calibration_dataloader=dict(batch_size=3)) == dict(
            batch_size=3
        )
        assert self.chosen(CalibrationHook(dict(batch_size=4))) == dict(batch_size=4)

    def test_two_sources_that_differ_are_refused(self):
        hook = CalibrationHook(dict(batch_size=4))
        assert self.chosen(hook, calibration_dataloader=dict(batch_size=4)) == dict(batch_size=4)
        with pytest.raises(UserError, match="Set only calibration_dataloader"):
            self.chosen(hook, calibration_dataloader=dict(batch_size=3))
        with pytest.raises(UserError, match="Set calibration_dataloader in the config"):
            self.chosen(CalibrationHook())
