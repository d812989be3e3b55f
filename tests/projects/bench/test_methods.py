"""Method names and the configs built from them."""

from dataclasses import replace

import pytest

from smallvit.bench.measuring import fit
from smallvit.bench.methods import (
    BASES,
    TEACHER,
    check_folders,
    drawn,
    list_methods,
    parse_method,
)
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.recipe import TrainedTeacher, begin_from, run_config
from smallvit.errors import UserError


def config(method, data="digits", size=32, samples=None, flip=True, **more):
    settings = BenchSettings(data, size, 16, flip, "iters", 100)
    return run_config(settings, Run(method, samples, 3, 100, 5), num_classes=7, **more)


def steps(cfg, split="train"):
    dataset = cfg[f"{split}_dataloader"].dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    return dataset.pipeline


class TestNames:
    def test_base_and_additions(self):
        method = parse_method("vit+shortcut+guidance-offline")
        assert (method.base, method.additions) == ("vit", ("shortcut", "guidance-offline"))
        assert method.guided
        assert method.offline
        assert method.network == "vit+shortcut"
        assert not parse_method("timm:resnet18").guided

    def test_initialization_does_not_change_the_network(self):
        method = parse_method("vit+structured+shortcut+guidance+views")
        assert (method.pretraining, method.initialization) == ("views", "smallvit.StructuredInit")
        assert method.network == "vit+shortcut"
        assert method.guided
        plain = parse_method("vit+shortcut")
        assert (plain.pretraining, plain.initialization) == (None, None)

    def test_the_weight_of_a_guidance(self):
        assert parse_method("vit+guidance").guidance_weight == ""
        for weight in ("0.25", ".5", "2", "balanced"):
            method = parse_method(f"vit+guidance={weight}+shortcut")
            assert method.additions == ("guidance", "shortcut")
            assert method.guidance_weight == weight
            assert method.guided

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("vti", "no method 'vti'; did you mean vit"),
            ("vit+shortcuts", "no addition 'shortcuts'; there are shortcut, guidance"),
            (
                "resnet+shortcut",
                "cannot be added to resnet: it is the reference network; masked, instance",
            ),
            ("dwnet+mimetic", "it has convolutions instead of attention; shortcut"),
            ("dhvt+structured", "it has no position embedding"),
            ("dvt+masked", "masked cannot be added to dvt: it is a cascade of several networks"),
            ("vit+mimetic+structured", "one initialization of mimetic, structured"),
            ("vit+masked+shortcut+views", "one pretraining of masked, instance, views"),
            ("vit+guidance+guidance-offline", "one form of guidance"),
            ("vit+shortcut+shortcut", "only once"),
            ("vit+guidance=", "a positive number or balanced"),
            ("vit+guidance=-1", "a positive number or balanced"),
            ("vit+shortcut=2", "only guidance and guidance-offline have a value"),
            ("timm:", "no method 'timm:'"),
            ("no/such.py", "no such config file: no/such.py"),
        ],
    )
    def test_mistakes(self, name, said):
        with pytest.raises(UserError) as caught:
            parse_method(name)
        assert said in str(caught.value)
        assert name in str(caught.value)

    def test_all_are_listed(self):
        for name in (*BASES, "timm:NAME", "+shortcut", "+guidance-offline"):
            assert name in list_methods()


def test_user_configs_provide_their_model(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "model = dict(type='ImageClassifier', backbone=dict(type='X', img_size=1),\n"
        "    head=dict(type='Y', num_classes=1, loss=dict(type='Z')))\n"
        "optim_wrapper = dict(type='mine')\n"
    )
    cfg = config(str(path))
    assert cfg.model.backbone == dict(type="X", img_size=32)
    assert cfg.model.head == dict(type="Y", num_classes=7, loss=dict(type="Z"))
    assert cfg.optim_wrapper == config("vit").optim_wrapper


@pytest.mark.parametrize("model", ["", "model = dict(type='X', backbone=dict(), roi_head={})"])
def test_configs_of_other_tasks_are_refused(model, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(model)
    settings = BenchSettings("digits", 32, 16, False, "iters", 9, sizes="params", target=1.0)
    with pytest.raises(UserError, match=r"own\.py: .*own\.py is no classification config"):
        fit(settings, [str(path)], 2, None)


class TestRecipe:
    def test_all_methods_share_the_recipe(self):
        def shared(name):
            cfg = config(name, samples=5).to_dict()
            del cfg["model"]
            return cfg

        assert shared("vit") == shared("dhvt+shortcut") == shared("resnet")

    def test_the_schedule_ends_with_the_run(self):
        cfg = config("vit")
        warmup, cosine = cfg.param_scheduler
        assert (warmup.end, cosine.begin, cosine.end) == (10, 10, 100)
        assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (100, 20)
        assert cfg.default_hooks.checkpoint.interval == 20

    def test_a_trapezoid_ends_with_the_run_too(self):
        run = Run("vit", None, 3, 100, 5)
        settings = BenchSettings("digits", 32, 16, True, "iters", 100, schedule="trapezoid")
        warmup, cooldown = run_config(settings, run, num_classes=7).param_scheduler
        assert (warmup.end, cooldown.begin, cooldown.end) == (10, 80, 100)
        warmup, cooldown = run_config(settings, run.prolonged(), num_classes=7).param_scheduler
        assert (warmup.end, cooldown.begin, cooldown.end) == (10, 160, 200)
        assert run.prolonged().val_interval == run.val_interval

    def test_a_chosen_learning_rate_overrides_the_recipe(self):
        chosen = replace(Run("vit", None, 3, 100, 5), rate=0.3)
        settings = BenchSettings("digits", 32, 16, True, "iters", 100)
        rate = run_config(settings, chosen, num_classes=7).optim_wrapper.optimizer.lr
        assert rate == pytest.approx(0.3 * config("vit").optim_wrapper.optimizer.lr)

    def test_seed_and_subset(self):
        cfg = config("vit", samples=5)
        assert cfg.randomness.seed == 3
        subset = cfg.train_dataloader.dataset
        assert (subset.type, subset.samples_per_class, subset.seed) == ("smallvit.Subset", 5, 3)
        assert config("vit").train_dataloader.dataset.type == "smallvit.Digits"
        for split in ("val", "test"):
            dataset = cfg[f"{split}_dataloader"].dataset
            assert (dataset.type, dataset.split) == ("smallvit.Digits", split)

    def test_size_and_flips(self):
        cfg = config("vit", data="images", size=48)
        assert [step.get("crop_size", 48) for step in steps(cfg)] == [48] * 5
        assert [step.padding for step in steps(cfg) if "padding" in step] == [6]
        assert "RandomFlip" in [step.type for step in steps(cfg)]
        assert "RandomFlip" not in [
            step.type for step in steps(config("vit", "images", flip=False))
        ]
        assert cfg.val_dataloader.dataset.data_root.endswith("/images")
        assert cfg.val_dataloader.dataset.data_root.startswith("/")

    def test_the_teacher_sees_its_own_size(self):
        cfg = config(TEACHER, data="images", size=224)
        assert cfg.model.backbone.type == "smallvit.CifarResNet"
        assert {step.scale for step in steps(cfg) if "scale" in step} == {32}


class TestBeginnings:
    def test_an_initialization_is_the_models(self):
        cfg = config("vit+mimetic+shortcut")
        assert cfg.model.init_cfg == dict(type="smallvit.MimeticInit")
        assert cfg.model.backbone.type == "smallvit.DWConvShortcut"

    def test_a_pretraining_replaces_it(self, tmp_path):
        cfg = config("vit+mimetic+masked+guidance", trained_teacher=TrainedTeacher("t/model.pth"))
        with pytest.raises(UserError, match="repeat the pretraining"):
            begin_from(cfg, str(tmp_path / "backbone.pth"))
        (tmp_path / "backbone.pth").touch()
        begin_from(cfg, str(tmp_path / "backbone.pth"))
        assert "init_cfg" not in cfg.model
        assert cfg.model.type == "smallvit.GuidedClassifier"
        assert cfg.model.backbone.init_cfg == dict(
            type="Pretrained", checkpoint=str(tmp_path / "backbone.pth"), prefix="backbone."
        )


class TestGuidance:
    trained_teacher = ("t/model.pth",)

    def test_a_teacher_method(self):
        cfg = config("vit+shortcut+guidance", trained_teacher=TrainedTeacher(*self.trained_teacher))
        assert cfg.model.type == "smallvit.GuidedClassifier"
        assert cfg.model.base == "mmpretrain.ImageClassifier"
        teacher = cfg.model.guidance.teacher
        assert (teacher.checkpoint, teacher.size) == ("t/model.pth", 32)
        assert teacher.model == config(TEACHER).model
        assert teacher.preprocessor == config(TEACHER).data_preprocessor
        assert [step.type for step in steps(cfg)] == ["Resize", "RandomCrop", "PackInputs"]

    def test_a_weight_of_the_method(self):
        teacher = TrainedTeacher(*self.trained_teacher)
        for weight, expected in (("0.25", 0.25), ("balanced", "balanced")):
            cfg = config(f"vit+guidance={weight}", trained_teacher=teacher)
            assert cfg.model.guidance.loss_weight == expected

    def test_stored_features_follow_the_image(self):
        trained_teacher = TrainedTeacher(*self.trained_teacher, store="t/features")
        cfg = config(
            "vit+guidance-offline", data="images", samples=5, trained_teacher=trained_teacher
        )
        assert cfg.model.guidance.store == "t/features"
        assert "store" not in steps(cfg)[1]
        assert [step.type for step in steps(cfg)] == [
            *("LoadImageFromFile", "smallvit.LoadTeacherFeatures", "ResizeEdge"),
            *("smallvit.GuidedRandomCrop", "smallvit.GuidedRandomFlip", "PackInputs"),
        ]
        assert steps(cfg)[-1].algorithm_keys == ["teacher_features"]
        assert "PackInputs" in [step.type for step in steps(cfg, "val")]


def test_pictures_have_no_paths():
    found = [drawn(each) for each in ("vit", "a/b.py+shortcut", "timm:x:pretrained=/a/b.pth+probe")]
    assert found == ["vit", "b.py+shortcut", "timm:x:pretrained=b.pth+probe"]
    assert drawn("timm:hf-hub:timm/x:pretrained") == "timm:hf-hub:timm/x:pretrained"


def test_two_methods_in_one_folder_are_refused():
    check_folders(["vit", "vit+shortcut", "timm:resnet18", "a/b.py", "vit", "a/b.py+shortcut"])
    with pytest.raises(UserError, match=r"a_b\.py: has the same folder, runs/a_b\.py, as a/b\.py"):
        check_folders(["a/b.py", "a_b.py"])
    with pytest.raises(UserError, match=r"guidance\+shortcut: is the same as vit\+shortcut\+gui"):
        check_folders(["vit+shortcut+guidance", "vit+guidance+shortcut"])
