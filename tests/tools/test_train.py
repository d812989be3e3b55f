import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from smallvit.engine.pipeline import fit_folder, take_steps
from tool_helpers import ROOT, load_tool, own_experiment, run_main, write_tiny_config

train = load_tool("train.py")
test = load_tool("test.py")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_config(tmp_path_factory.mktemp("tiny"))


def run(tool, *argv):
    """Run a tool; the first argument determines where further overrides are inserted."""
    argv = [str(arg) for arg in argv]
    if "--cfg-options" not in argv:
        argv.append("--cfg-options")
    return run_main(tool.main, *argv, own_experiment())


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("trained")
    assert run(train, tiny, "--work-dir", work_dir) == 0
    return work_dir


def losses(work_dir: Path) -> dict[int, float]:
    records = [
        json.loads(line)
        for file in work_dir.glob("*/vis_data/scalars.json")
        for line in file.read_text().splitlines()
    ]
    return {record["iter"]: record["loss"] for record in records if "loss" in record}


def merged(tiny, *argv) -> Config:
    request = train.make_request(train.parse_args([str(tiny), *argv]))
    return take_steps(request, last=fit_folder).cfg


def test_checkpoints_hold_plain_values_only(trained):
    checkpoint = torch.load(trained / "epoch_2.pth", weights_only=True)
    assert checkpoint["meta"]["epoch"] == 2
    history = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    logged = [losses(trained)[i] for i in sorted(losses(trained))]
    assert len(logged) == 8
    assert len(history["log_history"]) == 8


def test_resume_continues_the_run(tiny, trained, tmp_path):
    status = run(train, tiny, "--work-dir", tmp_path, "--resume", trained / "epoch_1.pth")
    assert status == 0
    whole, resumed = losses(trained), losses(tmp_path)
    assert sorted(resumed) == [5, 6, 7, 8]
    assert [resumed[i] for i in resumed] == pytest.approx([whole[i] for i in resumed], rel=1e-5)
    hub = torch.load(tmp_path / "epoch_2.pth", weights_only=True)["message_hub"]
    assert len(hub["log_scalars"]["train/loss"]["log_history"]) == 8


def test_amp_trains_in_bfloat16_on_cpu(tiny, trained, tmp_path):
    options = ("train_cfg.max_epochs=1", "train_cfg.val_interval=5")
    assert run(train, tiny, "--amp", "--work-dir", tmp_path, "--cfg-options", *options) == 0
    full, mixed = losses(trained), losses(tmp_path)
    assert mixed[1] != full[1]
    assert mixed[1] == pytest.approx(full[1], rel=0.05)
    weights = torch.load(tmp_path / "epoch_1.pth", weights_only=True)["state_dict"]
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}


class TestFlags:
    def test_cfg_options_win(self, tiny):
        cfg = merged(
            tiny,
            *("--work-dir", "flag", "--amp", "--no-validate", "--resume", "a.pth"),
            *("--cfg-options", "work_dir=option", "optim_wrapper.type=AmpOptimWrapper"),
            *("load_from=b.pth", "train_cfg.max_epochs=7"),
        )
        assert cfg.work_dir == "option"
        assert cfg.optim_wrapper.type == "AmpOptimWrapper"
        assert cfg.load_from == "b.pth"
        assert cfg.train_cfg.max_epochs == 7
        assert cfg.resume
        assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None

    def test_defaults(self, tiny):
        cfg = merged(tiny)
        assert cfg.work_dir == "work_dirs/tiny"
        assert cfg.launcher == "none"
        assert not cfg.get("resume")
        assert cfg.train_dataloader.collate_fn.type == "default_collate"
        # Without workers, torch does not accept persistent_workers.
        assert cfg.train_dataloader.persistent_workers is False

    def test_loader_flags(self, tiny):
        workers = ("--cfg-options", "train_dataloader.num_workers=1")
        assert merged(tiny, *workers).train_dataloader.persistent_workers is True
        cfg = merged(tiny, "--no-persistent-workers", "--no-pin-memory", *workers)
        assert cfg.train_dataloader.persistent_workers is False
        assert cfg.val_dataloader.pin_memory is False

    def test_resume_without_a_value_looks_in_the_work_dir(self, tiny):
        cfg = merged(tiny, "--resume")
        assert cfg.resume
        assert cfg.load_from is None

    def test_auto_scale_lr(self, tiny):
        cfg = Config.fromfile(tiny)
        cfg.auto_scale_lr = dict(base_batch_size=64)
        train.set_flags(cfg, train.parse_args([str(tiny), "--auto-scale-lr"]))
        assert cfg.auto_scale_lr.enable

    def test_new_keys_are_announced(self, tiny, capsys):
        merged(tiny, "--cfg-options", "my_notes.lr=1", "train_cfg.max_epochs=3")
        out = capsys.readouterr().out
        assert "my_notes.lr" in out
        assert "max_epochs" not in out


class TestMistakes:
    """Errors name the invalid value, and leave nothing behind except the log."""

    @pytest.fixture
    def fails(self, tiny, tmp_path, capfd):
        def check(*argv, config=tiny, tool=train, status=1):
            work_dir = tmp_path / "work"
            assert run(tool, config, *argv[:1], "--work-dir", work_dir, *argv[1:]) == status
            message = capfd.readouterr().err.partition("error: ")[2]
            assert list(work_dir.rglob("*.pth")) == []
            for log in work_dir.rglob("*.log"):
                assert f"the run failed: {message.splitlines()[0]}" in log.read_text()
            assert "Traceback" not in message
            assert len(message.splitlines()) < 12
            return message

        return check

    def option(self, fails, option):
        return fails("--no-persistent-workers", "--cfg-options", option)

    def test_missing_config(self, fails, tiny):
        message = fails("--amp", config=tiny.with_name("tyni.py"))
        assert f"no such config file: {tiny.with_name('tyni.py')}; did you mean {tiny}" in message

    def test_syntax_error(self, fails, tmp_path):
        base = tmp_path / "base.py"
        base.write_text("a = 1\nb = (\n")
        config = tmp_path / "config.py"
        config.write_text("_base_ = './base.py'\n")
        message = fails("--amp", config=config)
        assert "base.py, line 2: not valid Python" in message

    def test_missing_base(self, fails, tmp_path):
        config = tmp_path / "config.py"
        config.write_text("_base_ = './nothing.py'\n")
        assert "nothing.py" in fails("--amp", config=config)

    def test_config_without_training(self, fails, tmp_path):
        config = tmp_path / "config.py"
        config.write_text("model = dict(type='X')\n")
        assert "training requires train_cfg, train_dataloader" in fails("--amp", config=config)

    def test_misspelt_keys(self, fails, tmp_path):
        config = tmp_path / "config.py"
        config.write_text("model = train_cfg = train_dataloader = dict()\noptim_wraper = dict()\n")
        message = fails("--amp", config=config)
        assert (
            "requires optim_wrapper, which the config does not set; it sets optim_wraper" in message
        )
        message = self.option(fails, "default_hooks.checkpoint.save_bset=auto")
        assert "default_hooks.checkpoint.save_bset: did you mean save_best" in message

    def test_missing_data_root(self, fails):
        message = self.option(fails, "train_dataloader.dataset.data_root=/no/such")
        assert "/no/such/train (config key train_dataloader.dataset.data_root)" in message

    def test_unknown_type(self, fails):
        message = self.option(fails, "model.backbone.type=ResNet_CIFR")
        assert "no type 'ResNet_CIFR' is registered (config key model.backbone.type)" in message
        assert "Did you mean mmpretrain.ResNet_CIFAR" in message

    def test_unknown_type_of_ours(self, fails):
        message = self.option(fails, "model.backbone.type=smallvit.DWNt")
        assert "'smallvit.DWNt'" in message
        assert "smallvit.DWNet" in message

    def test_misspelt_arch(self, fails):
        message = fails(
            "--amp",
            *("--cfg-options", "model.backbone._delete_=True"),
            *("model.backbone.type=smallvit.DWNet", "model.backbone.arch=tinny"),
        )
        assert "(config key model.backbone)" in message
        assert "tinny" in message
        assert "tiny" in message

    def test_unknown_argument(self, fails):
        message = self.option(fails, "model.backbone.windows=18")
        assert "cannot build ResNet_CIFAR (config key model.backbone)" in message
        assert "windows" in message

    def test_no_base_batch_size(self, fails, tiny):
        message = fails("--auto-scale-lr")
        assert "auto_scale_lr.base_batch_size" in message
        assert str(tiny) in message

    def test_missing_checkpoint(self, fails, trained):
        message = fails("--resume", "--cfg-options", f"load_from={trained}/epoch_9.pth")
        assert "epoch_9.pth; that folder has epoch_1.pth, epoch_2.pth" in message

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ('{"images": [], "annotations": []}', "'categories'. Add"),
            ('{"images": [', "config key train_dataloader.dataset"),
        ],
    )
    def test_annotations(self, fails, tmp_path, content, reason):
        file = tmp_path / "instances.json"
        file.write_text(content)
        config = ROOT / "configs/dwnet/dwnet-mini_digits-det.py"
        # mmdet's base sets the name of the visualizer, of which MMEngine keeps one per process.
        options = (f"train_dataloader.dataset.ann_file={file}", f"visualizer.name={tmp_path.name}")
        message = fails("--no-validate", "--cfg-options", *options, config=config)
        assert str(file) in message
        assert reason in message

    def test_unknown_flag(self, fails):
        assert "unrecognized arguments: --cfg-option" in fails("--cfg-option", status=2)

    def test_malformed_option(self, fails):
        message = fails("--amp", "--cfg-options", "nonsense", status=2)
        assert "'nonsense' is not of the form KEY=VALUE" in message


def test_a_failed_run_keeps_its_log_and_what_others_wrote(tiny, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")

    def write_while_it_runs(*_, **__):
        (tmp_path / "theirs.txt").write_text("of another process")
        (tmp_path / "theirs").mkdir()
        raise KeyError("a failure in the training")

    # Not at the top: mmcv's ops must be provided before the libraries' models are imported.
    from mmpretrain.models.backbones import ResNet_CIFAR

    monkeypatch.setattr(ResNet_CIFAR, "forward", write_while_it_runs)
    assert run(train, tiny, "--work-dir", tmp_path, "--no-validate") == 1
    assert {"notes.txt", "theirs.txt", "theirs"} <= {path.name for path in tmp_path.iterdir()}
    (log,) = tmp_path.rglob("*.log")
    assert "KeyError: 'a failure in the training'" in log.read_text()


def test_debug_shows_the_traceback(tiny, tmp_path, capfd):
    options = ("--debug", "--cfg-options", "model.backbone.depth=19")
    assert run(train, tiny, "--work-dir", tmp_path / "work", *options) == 1
    assert "Traceback" in capfd.readouterr().err
