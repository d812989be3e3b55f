"""Config of a run: a method's network in the recipe shared by all methods."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

from mmengine.config import Config, ConfigDict

from smallvit.apis.training.models import timm_classifier
from smallvit.bench.dense import dense_config
from smallvit.bench.hooks import PRECISION
from smallvit.bench.methods import BASES, SMALL, TEACHER, TEACHER_SIZE, TIMM, Method, parse_method
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.references import begin_with_weights, seen_size, timm_name
from smallvit.bench.sizes import set_width
from smallvit.bench.tasks import CLASSIFICATION
from smallvit.datasets.formats.table import is_table, read_table
from smallvit.engine.config_files import find_config
from smallvit.errors import UserError
from smallvit.utils.configs import config_path

DIGITS = "digits"
RECIPES = {"digits": "vit-mini_digits", "small": "vit-mini_photos", "large": "vit-t_photos"}
#: Auxiliary variables of the config files that a run does not need.
NAMES = (
    *("guards", "max_epochs", "max_iters", "warmup_iters", "val_interval", "data_root"),
    *("train_pipeline", "test_pipeline", "folders", "vis_backends", "fit_to_folder"),
)
SPLITS = ("train", "val", "test")
#: Spatial transforms, with their variants that also transform stored teacher features.
GUIDED_TRANSFORMS = {
    "RandomCrop": "smallvit.GuidedRandomCrop",
    "RandomResizedCrop": "smallvit.GuidedRandomResizedCrop",
    "RandomFlip": "smallvit.GuidedRandomFlip",
}


@dataclass(frozen=True)
class TrainedTeacher:
    """Trained teacher of a guided run.

    Args:
        checkpoint (str): Path of its weights.
        store (str, optional): Folder of its stored features. Defaults to None: the teacher runs
            during training.
        width (int): Channels of its first stage. Defaults to 0: those of its config.
    """

    checkpoint: str
    store: str | None = None
    width: int = 0


def run_config(
    settings: BenchSettings,
    run: Run,
    num_classes: int,
    workers: int = 0,
    trained_teacher: TrainedTeacher | None = None,
) -> Config:
    """Build the config of a run.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): The run; method ``teacher`` is the small CNN with its own input size.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers. Defaults to 0.
        trained_teacher (TrainedTeacher, optional): Teacher of a guided method.
            Defaults to None.

    Returns:
        Config: Complete config, which ``tools/train.py`` accepts too.
    """
    if settings.task != CLASSIFICATION:
        cfg = dense_config(settings, run, workers)
        _set_length(cfg, run, settings.schedule)
        return cfg
    teacher = run.method == TEACHER
    method = Method(TEACHER, "resnet") if teacher else parse_method(run.method)
    size = TEACHER_SIZE if teacher else settings.image_size
    cfg = Config.fromfile(config_path(f"bench/{_recipe(settings.data, size)}.py"))
    for name in NAMES:
        cfg.pop(name, None)
    size = seen_size(method, size)
    cfg.model = model_config(method, size, num_classes, run.width)
    cfg.data_preprocessor.num_classes = num_classes
    if several_labels(settings.data):
        _take_several(cfg, method)
    _set_data(cfg, settings, run, size, workers)
    if cfg.model.type == "smallvit.MultiExitClassifier":  # exit thresholds
        cfg.calibration_dataloader = deepcopy(cfg.val_dataloader)
    _set_length(cfg, run, settings.schedule)
    cfg.optim_wrapper.optimizer.lr *= run.rate
    if method.pretrained:
        begin_with_weights(cfg, method)
    cfg.randomness.seed = run.seed
    if method.guided and trained_teacher is not None:
        # The config file in the teacher's folder is not used, as loading it would execute code.
        teaching = replace(run, method=TEACHER, width=trained_teacher.width)
        _guide(cfg, trained_teacher, run_config(settings, teaching, num_classes))
        weight = method.guidance_weight or run.weight
        if weight:
            cfg.model.guidance.loss_weight = weight if weight == "balanced" else float(weight)
    return cfg


def several_labels(data: str) -> bool:
    """Check whether images may have several labels.

    Args:
        data (str): ``digits``, a folder or a table of labels.

    Returns:
        bool: Whether it is a table with multiple labels.
    """
    return is_table(data) and read_table(data).several


def _take_several(cfg: Config, method: Method) -> None:
    """Use a multi-label head and metric."""
    head = cfg.model.head
    if head.type.rpartition(".")[2] != "LinearClsHead":
        raise UserError(f"{method.name} ends in {head.type}, which predicts a single label")
    cfg.model.head = ConfigDict(
        type="MultiLabelLinearClsHead",
        num_classes=head.num_classes,
        in_channels=head.in_channels,
        loss=dict(type="CrossEntropyLoss", use_sigmoid=True),
    )
    metric = dict(type="AveragePrecision")
    cfg.val_evaluator = cfg.test_evaluator = metric
    cfg.default_hooks.checkpoint.save_best = PRECISION


def begin_from(cfg: Config, checkpoint: str) -> None:
    """Initialize the backbone of a run from the weights of its pretraining.

    Args:
        cfg (Config): Config of the run, changed in place.
        checkpoint (str): Path of the weights.

    Raises:
        UserError: If the file does not exist.
    """
    if not osp.isfile(checkpoint):
        raise UserError(
            f"{checkpoint} does not exist: run the same command again to repeat the pretraining"
        )
    cfg.model.pop("init_cfg", None)
    cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=checkpoint, prefix="backbone.")


def whole_images(cfg: Config) -> Config:
    """Change a teacher's config so that its validation transforms resize without cropping.

    Args:
        cfg (Config): Config of the teacher, changed in place.

    Returns:
        Config: The same.
    """
    dataset = cfg.val_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    kept = [step for step in dataset.pipeline if step.type in ("LoadImageFromFile", "PackInputs")]
    resize = dict(type="Resize", scale=(TEACHER_SIZE, TEACHER_SIZE), interpolation="bicubic")
    dataset.pipeline = [*kept[:-1], resize, kept[-1]]
    return cfg


def tier(size: int) -> str:
    """Select mini or published networks by image size.

    Args:
        size (int): Height and width of the images.

    Returns:
        str: ``small`` or ``large``.
    """
    return "small" if size <= SMALL else "large"


def _recipe(data: str, size: int) -> str:
    # Scans of 8x8 pixels do not profit from a larger network.
    return RECIPES["digits" if data == DIGITS else tier(size)]


def model_config(method: Method, size: int, num_classes: int, width: int = 0) -> ConfigDict:
    """Build the model config of a method, without a teacher.

    Args:
        method (Method): Parsed method.
        size (int): Height and width of the images.
        num_classes (int): Number of classes.
        width (int): Channels of the first stage. Defaults to 0: those of its config.

    Returns:
        ConfigDict: Config of the model.
    """
    if method.base.startswith(TIMM):
        model = timm_classifier(timm_name(method), size)
    else:
        path = method.base
        if path in BASES:
            path = config_path(getattr(BASES[path], tier(size)))
        model = deepcopy(Config.fromfile(find_config(path)).get("model") or ConfigDict())
        if not isinstance(model.get("head"), dict) or "backbone" not in model:
            raise UserError(
                f"--methods {method.name}: {path} is no classification config: it needs a model "
                "with a backbone and a head"
            )
    if not method.base.endswith(".py"):
        model.head.loss = dict(
            type="mmpretrain.LabelSmoothLoss", label_smooth_val=0.1, mode="original"
        )
        # Mixup and CutMix of the published recipes are removed, as no method uses them here.
        model.pop("train_cfg", None)
    model.pop("data_preprocessor", None)
    for node in _dicts(model):
        if "img_size" in node:
            node.img_size = size
    model.head.num_classes = num_classes
    if width:
        set_width(model, width)
    if "shortcut" in method.additions:
        cascade = model.backbone.type == "smallvit.DynamicViT"
        model.backbone.host = model.backbone.type
        model.backbone.type = "smallvit.DWConvShortcut"
        if cascade:
            model.backbone.shortcut = dict(with_last=False)
    if method.initialization:
        model.init_cfg = dict(type=method.initialization)
    return model


def _dicts(node: object) -> Iterator[ConfigDict]:
    if isinstance(node, dict):
        yield node
    children = node.values() if isinstance(node, dict) else node
    if isinstance(node, (dict, list, tuple)):
        for child in children:
            yield from _dicts(child)


def _set_data(cfg: Config, settings: BenchSettings, run: Run, size: int, workers: int) -> None:
    for split in SPLITS:
        loader = cfg[f"{split}_dataloader"]
        loader.num_workers = workers
        loader.persistent_workers = workers > 0
        dataset = loader.dataset
        if is_table(settings.data):
            dataset.update(type="smallvit.LabelTable", ann_file=osp.abspath(settings.data))
            dataset.pop("data_root", None)
        elif settings.data != DIGITS:
            dataset.data_root = osp.abspath(settings.data)
        dataset.pipeline = _sized(dataset.pipeline, size, settings.flip)
    if settings.val_samples:
        val = cfg.val_dataloader
        val.dataset = dict(
            type="smallvit.Subset", dataset=val.dataset, samples_per_class=settings.val_samples
        )
    train = cfg.train_dataloader
    train.batch_size = settings.batch_size
    cfg.auto_scale_lr.enable = True  # the recipe's rate is for base_batch_size images
    if run.samples is not None:
        train.dataset = dict(
            type="smallvit.Subset",
            dataset=train.dataset,
            samples_per_class=run.samples,
            seed=run.seed,
        )


def _sized(pipeline: list, size: int, flip: bool) -> list:
    fitted = []
    for step in pipeline:
        step.update({key: size for key in ("scale", "crop_size") if key in step})
        if "padding" in step:
            step.padding = size // 8
        if flip or step.type != "RandomFlip":
            fitted.append(step)
    return fitted


def _set_length(cfg: Config, run: Run, schedule: str) -> None:
    cfg.train_cfg.max_iters = run.iters
    cfg.train_cfg.val_interval = run.val_interval
    cfg.default_hooks.checkpoint.interval = run.val_interval
    cfg.default_hooks.logger.interval = max(1, (run.begun or run.iters) // 50)
    first, second = cfg.param_scheduler
    first.end = second.begin = run.warmup
    if schedule == "trapezoid":
        second = dict(type="LinearLR", start_factor=1.0, end_factor=0.0, by_epoch=False)
        second["begin"] = run.cooldown
        cfg.param_scheduler = [first, second]
    # Empty schedules are rejected, and LinearLR divides by the number of steps minus one.
    last = cfg.param_scheduler[1]
    last["end"] = max(run.iters, last["begin"] + 2)


def _guide(cfg: Config, trained_teacher: TrainedTeacher, teacher: Config) -> None:
    model = cfg.model
    model.base = model.type if "." in model.type else f"mmpretrain.{model.type}"
    model.type = "smallvit.GuidedClassifier"
    model.guidance = dict(
        type="smallvit.LocalityGuidance",
        teacher=dict(
            model=teacher.model,
            preprocessor=teacher.data_preprocessor,
            checkpoint=trained_teacher.checkpoint,
            size=TEACHER_SIZE,
        ),
    )
    if trained_teacher.store is None:
        return
    model.guidance.store = trained_teacher.store
    dataset = cfg.train_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    steps = [_guided_step(step) for step in dataset.pipeline]
    first = next((i for i, step in enumerate(steps) if "Load" not in step.type), len(steps))
    steps.insert(first, dict(type="smallvit.LoadTeacherFeatures"))
    dataset.pipeline = steps


def _guided_step(step: ConfigDict) -> ConfigDict:
    if step.type == "PackInputs":
        step.algorithm_keys = ["teacher_features"]
    step.type = GUIDED_TRANSFORMS.get(step.type, step.type)
    return step
