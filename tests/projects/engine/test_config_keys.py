"""Detection of misspelled config keys before anything is built."""

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from config_helpers import read_config
from smallvit.cli.config import finalize_config
from smallvit.engine.config_keys import check_keys, misspelled_keys
from smallvit.errors import UserError

DIGITS = "dwnet/dwnet-mini_digits.py"
DETECTION = "dwnet/dwnet-mini_digits-det.py"


def found(cfg):
    return {path: meant for path, meant, _ in misspelled_keys(cfg)}


def changed(path, value=1, name=DIGITS):
    cfg = read_config(name)
    cfg.merge_from_dict({path: value})
    return cfg


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("optim_wraper.optimizer.lr", "optim_wrapper"),
        ("param_schedular", "param_scheduler"),
        ("train_dataloaders", "train_dataloader"),
        ("cutom_hooks", "custom_hooks"),
        ("loadfrom", "load_from"),
        ("find_unused_parameter", "find_unused_parameters"),
        ("train_cfg.max_epoch", "max_epochs"),
        ("val_cfg.fp_16", "fp16"),
        ("model.bakbone", "backbone"),
        ("model.backbone.drop_path_rat", "drop_path_rate"),
        ("model.head.num_clases", "num_classes"),
        ("optim_wrapper.clip_grads", "clip_grad"),
        ("optim_wrapper.clip_grad.maxnorm", "max_norm"),
        ("optim_wrapper.acumulative_counts", "accumulative_counts"),
        ("optim_wrapper.optimizer.weight_deacy", "weight_decay"),
        ("optim_wrapper.paramwise_cfg.norm_decay_mul", "norm_decay_mult"),
        ("optim_wrapper.paramwise_cfg.custom_keys.head.lr_mul", "lr_mult"),
        ("param_scheduler.0.by_epochs", "by_epoch"),
        ("param_scheduler.0.convert_to_iter_base", "convert_to_iter_based"),
        ("default_hooks.chekpoint", "checkpoint"),
        ("default_hooks.checkpoint.save_bset", "save_best"),
        ("default_hooks.checkpoint.intervall", "interval"),
        ("default_hooks.logger.intervall", "interval"),
        ("default_hooks.non_finite.tolerence", "tolerance"),
        ("train_dataloader.batchsize", "batch_size"),
        ("train_dataloader.num_worker", "num_workers"),
        ("train_dataloader.pin_memmory", "pin_memory"),
        ("train_dataloader.sampler.shufle", "shuffle"),
        ("train_dataloader.dataset.samples_per_clas", "samples_per_class"),
        ("train_dataloader.dataset.pipline", "pipeline"),
        ("train_dataloader.dataset.metainfo.CLASSES", "classes"),
        ("val_evaluator.collect_devise", "collect_device"),
        ("env_cfg.cudnn_benchmrk", "cudnn_benchmark"),
        ("randomness.determinstic", "deterministic"),
        ("auto_scale_lr.base_batchsize", "base_batch_size"),
        ("visualizer.save_dirs", "save_dir"),
        ("train_dataloader.dataset.pipeline.0.scal", "scale"),
        ("train_dataloader.sampler.sed", "seed"),
        ("param_scheduler.1.T_maxx", "T_max"),
        ("randomness.sed", "seed"),
        ("data_preprocessor.maen", "mean"),
    ],
)
def test_a_misspelt_option_is_found(path, meant):
    cfg = changed(path)
    with pytest.raises(UserError) as caught:
        check_keys(cfg)
    [(bad, said)] = found(cfg).items()
    assert path.startswith(bad)
    assert said == meant
    assert f"{bad}: did you mean {meant}" in str(caught.value)
    assert cfg.filename in str(caught.value)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("model.roi_head.bbox_head.num_clases", "num_classes"),
        ("model.test_cfg.rcnn.score_th", "score_thr"),
        ("model.train_cfg.rpn_proposals", "rpn_proposal"),
        ("train_dataloader.dataset.test_modes", "test_mode"),
        ("train_dataloader.batch_samplr", "batch_sampler"),
        ("val_evaluator.class_wise", "classwise"),
    ],
)
def test_a_misspelt_option_of_a_detector_is_found(path, meant):
    assert found(changed(path, name=DETECTION)) == {path: meant}


@pytest.mark.parametrize(
    "path", ["my_pipeline", "lr", "data_root2", "model.backbone.shape", "train_cfg.foo"]
)
def test_other_names_are_left_alone(path):
    check_keys(changed(path))


def test_dicts_without_type_are_ignored():
    check_keys(Config(dict(default_hooks=dict(logger=dict(intervall=1)))))
    check_keys(Config(dict(model=dict(type="NoSuchModel", backbonee=1))))
    check_keys(Config(dict(default_scope="no_such_scope", model=dict(type="NoSuchModel"))))


def test_user_classes_with_kwargs_are_accepted():
    class Base(Hook):
        def __init__(self, threshold=1):
            pass

    class Passing(Base):
        def __init__(self, color="red", **kwargs):
            super().__init__(**kwargs)

    with HOOKS.switch_scope_and_registry("mmengine") as registry:
        registry.register_module(module=Passing, name="PassingOn", force=True)
    for kind in ("PassingOn", Passing):
        cfg = Config(dict(custom_hooks=[dict(type=kind, treshold=1, priorty=1, collor="blue")]))
        assert found(cfg) == {
            "custom_hooks.0.treshold": "threshold",
            "custom_hooks.0.priorty": "priority",
            "custom_hooks.0.collor": "color",
        }


def test_errors_name_the_way_out():
    cfg = changed("optim_wraper.lr")
    cfg.train_cfg.max_epoch = 3
    with pytest.raises(UserError, match=r'unchecked_keys="\[optim_wraper,train_cfg.max_epoch\]"'):
        check_keys(cfg)
    for accepted in (["optim_wraper", "train_cfg.max_epoch"], "optim_wraper"):
        cfg.unchecked_keys = accepted
        if isinstance(accepted, list):
            check_keys(cfg)
    with pytest.raises(UserError, match=r"max_epoch: did you mean max_epochs \(an option of"):
        check_keys(cfg)


def test_overrides_of_the_command_line():
    cfg = read_config(DIGITS)
    with pytest.raises(UserError, match=r"optim_wraper: did you mean optim_wrapper\?"):
        finalize_config(cfg, {"optim_wraper.optimizer.lr": 0.1})
    cfg = read_config(DIGITS)
    finalize_config(cfg, {"optim_wraper.lr": 0.1, "unchecked_keys": ["optim_wraper"]})


def test_arguments_of_a_data_set_in_memory():
    """Arguments of InMemory and of the dataset that it wraps."""
    dataset = dict(type="smallvit.InMemory", of="smallvit.ClassFolders", max_gib=1, data_root="x")
    cfg = dict(default_scope="mmpretrain", train_dataloader=dict(dataset=dataset))
    assert not list(misspelled_keys(Config(cfg)))
    for slip, meant in (("max_gb", "max_gib"), ("held_ut", "held_out"), ("data_rot", "data_root")):
        cfg["train_dataloader"]["dataset"] = {**dataset, slip: 0.1}
        assert [one[:2] for one in misspelled_keys(Config(cfg))] == [
            (f"train_dataloader.dataset.{slip}", meant)
        ]
