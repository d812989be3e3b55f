"""Options of ``tools/test.py``: drawing, test-time augmentation and result files."""

from __future__ import annotations

import argparse
import os
from copy import deepcopy
from typing import Any

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from smallvit.engine.prediction_dump import DumpPredictions
from smallvit.engine.predictions import PICKLES
from smallvit.errors import UserError
from smallvit.utils.configs import walk
from smallvit.utils.files import whole_file

FLIPS = [
    [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}],
]
#: Replacements of the libraries' hooks that do not overwrite images with equal file names.
DRAWING_HOOKS = {
    "VisualizationHook": "smallvit.ClassifierDrawingHook",
    "DetVisualizationHook": "smallvit.DetectorDrawingHook",
}
DETECTION_META = (
    "img_id",
    "img_path",
    "ori_shape",
    "img_shape",
    "scale_factor",
    "flip",
    "flip_direction",
)


def enable_drawing(cfg: Config, args: argparse.Namespace) -> None:
    """Enable the visualization hook of the library.

    The hooks of the libraries use different names for the same options.

    Args:
        cfg (Config): The config, changed in place.
        args (argparse.Namespace): ``show``, ``show_dir``, ``wait_time``, ``interval``.

    Raises:
        UserError: If the config has no such hook.
    """
    hook = (cfg.get("default_hooks") or {}).get("visualization")
    if hook is None:
        raise UserError(
            "--show and --show-dir need default_hooks.visualization, which the config does not "
            "set: add visualization=dict(type=...) with the library's visualization hook"
        )
    hook.show = args.show
    hook.wait_time = args.wait_time
    library = cfg.get("default_scope")
    if library == "mmpretrain" and args.tta:
        raise UserError("MMPretrain cannot draw test-time augmented images: omit --tta")
    if library == "mmpretrain":
        _keep_names_apart(hook)
        hook.enable = True
        hook.out_dir = args.show_dir
        hook.interval = args.interval or 1
        return
    _keep_names_apart(hook)
    hook.draw = True
    # The hook of mmdet ignores the interval in testing.
    if library != "mmdet":
        hook.interval = args.interval or 1
    if args.show_dir and library == "mmdet":
        hook.test_out_dir = args.show_dir
    elif args.show_dir:
        cfg.setdefault("visualizer", ConfigDict(type="Visualizer")).save_dir = args.show_dir
        backends = cfg.visualizer.get("vis_backends") or [ConfigDict(type="LocalVisBackend")]
        cfg.visualizer.vis_backends = backends


def _keep_names_apart(hook: ConfigDict) -> None:
    """Prevent images with equal names in different folders from overwriting each other."""
    name = str(hook.get("type")).rpartition(".")[2]
    hook.type = DRAWING_HOOKS.get(name, hook.get("type"))


def enable_tta(cfg: Config) -> None:
    """Wrap the model and the test pipeline for test-time augmentation.

    Args:
        cfg (Config): The config, changed in place. Without ``tta_model`` and
            ``tta_pipeline``, classifiers and box detectors that were trained with horizontal
            flips average over both orientations.

    Raises:
        UserError: If the config defines no test-time augmentation and horizontal flips are not
            applicable.
    """
    library = cfg.get("default_scope")
    dataset = _innermost(cfg.test_dataloader.dataset)
    if not (cfg.get("tta_model") and cfg.get("tta_pipeline")):
        _require_flips(cfg, library)
    if cfg.get("tta_model") is None:
        cfg.tta_model = _default_tta_model(library)
    if cfg.get("tta_pipeline") is None:
        print("--tta: averaging predictions over each image and its horizontal flip")
        cfg.tta_pipeline = _flip_pipeline(dataset.pipeline, library)
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def _require_flips(cfg: Config, library: str | None) -> None:
    """Reject flips that the libraries cannot merge or that the model was not trained with."""
    reason = None
    if library not in ("mmpretrain", "mmdet"):
        reason = f"no default is available for default_scope {library!r}"
    elif _predicts_masks(cfg.model):
        reason = "mmdet merges the boxes but not the masks of flipped images"
    elif "DynamicViT" in str((cfg.model.get("backbone") or {}).get("type")):
        reason = "a cascade predicts at each exit, and averaged predictions have no thresholds"
    elif not _flips(cfg.get("train_dataloader")):
        reason = (
            "the training pipeline has no flips, so a flipped image may look like another "
            "class (a 2 and a 5)"
        )
    if reason is not None:
        raise UserError(
            f"--tta: {reason}; omit the flag, or set tta_model and tta_pipeline in the config"
        )


def _predicts_masks(model: ConfigDict) -> bool:
    return any(key.rpartition(".")[2] == "mask_head" and value for key, value in walk(model))


def _flips(loader: ConfigDict | None) -> bool:
    return any(
        "Flip" in str(node.get("type", ""))
        for _, node in walk(loader or {})
        if hasattr(node, "get")
    )


def _innermost(dataset: ConfigDict) -> ConfigDict:
    while "dataset" in dataset:
        dataset = dataset.dataset
    return dataset


def _default_tta_model(library: str) -> ConfigDict:
    if library == "mmpretrain":
        return ConfigDict(type="mmpretrain.AverageClsScoreTTA")
    nms = ConfigDict(type="nms", iou_threshold=0.5)
    return ConfigDict(type="mmdet.DetTTAModel", tta_cfg=ConfigDict(nms=nms, max_per_img=100))


def _flip_pipeline(pipeline: list, library: str) -> list:
    *steps, pack = deepcopy(list(pipeline))
    if library == "mmdet":
        pack = {"type": "PackDetInputs", "meta_keys": DETECTION_META}
    augment = {"type": "TestTimeAug", "transforms": [*deepcopy(FLIPS), [pack]]}
    return [*steps, ConfigDict(augment)]


def dump_predictions(runner: Runner, path: str) -> None:
    """Write the predictions to a file at the end of the test.

    Args:
        runner (Runner): Test runner.
        path (str): Output file: .json for classes or instances, .npz for label maps, or .pkl or
            .pickle in the format of the MM libraries.
    """
    metrics = runner.test_evaluator.metrics
    if not path.endswith(PICKLES):
        metrics.append(DumpPredictions(path, runner.test_dataloader.dataset))
        return
    dump_type = DumpResults
    if runner.cfg.get("default_scope") == "mmdet":
        from mmdet.evaluation import DumpDetResults

        dump_type = DumpDetResults  # encodes the masks
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    metrics.append(dump_type(out_file_path=path))


def dump_metrics(metrics: dict[str, Any], path: str) -> None:
    """Write the metrics to a file in the main process.

    Args:
        metrics (dict): Test metrics.
        path (str): Output file in a format that MMEngine supports: .json, .yaml, .pkl.
    """
    if is_main_process():
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with whole_file(path) as temporary:
            mmengine.dump(metrics, temporary)
