"""Express one of our configs in the terms of the official codes, based on the built components."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from smallvit.analysis.recipe import loader, pipeline


def official_terms(cfg: Config) -> dict[str, Any]:
    """Describe a config except for its weights and learning rates.

    Args:
        cfg (Config): A config of the repository.

    Returns:
        dict: The keys of the official numbers in ``data/recipes``.
    """
    handed = loader.describe_loader(cfg, loader.count_images(cfg))
    step = loader.describe_step(cfg)
    repeats = handed["repeats per image"]
    return {
        "clip_grad": (step["clipping"] or {}).get("max_norm"),
        "cudnn_benchmark": handed["cudnn.benchmark"],
        "drop_last": handed["last partial batch"] == "dropped",
        "repeated_augmentation": repeats if repeats > 1 else 0,
        "ema": _average(cfg),
        "mix": _mixing(cfg),
        "label_smoothing": pipeline.describe_mixing(cfg)["label smoothing"],
        **(_images(cfg) if cfg.default_scope == "mmpretrain" else {}),
        "token_module_dropout": _setting(cfg.model.backbone, "token_drop_rate"),
        "drop_path": _setting(cfg.model.backbone, "drop_path_rate"),
        "weights": "ImageNet-1K backbone" if cfg.model.backbone.get("init_cfg") else None,
        "non_finite": _non_finite(cfg),
    }


def _non_finite(cfg: Config) -> str:
    hook = cfg.default_hooks.non_finite
    if hook.get("enabled", True) and not hook.get("skip"):
        return "training stops"
    return "batch is skipped if loss or gradient norm is not finite"


def _images(cfg: Config) -> dict[str, Any]:
    training, test = pipeline.training_pipeline(cfg), pipeline.test_pipeline(cfg)
    return {
        "train": _training(cfg, list(_flat(pipeline.build_steps(cfg, training)))),
        "test": _test(list(_flat(pipeline.build_steps(cfg, test)))),
    }


def _flat(steps: list[Any]) -> Iterator[Any]:
    """List transforms in order, including those inside a choice."""
    for step in steps:
        if type(step).__name__ == "RandomChoice":
            for branch in step.transforms:
                yield from _flat(branch.transforms)
        else:
            yield step


def _named(steps: list[Any], name: str) -> list[Any]:
    return [step for step in steps if type(step).__name__ == name]


def _average(cfg: Config) -> dict[str, Any] | None:
    found = loader.describe_averaging(cfg)
    if found["decay"] is None:
        return None
    return {**found, "decay": round(found["decay"], 9)}


def _mixing(cfg: Config) -> dict[str, float] | None:
    found = pipeline.describe_mixing(cfg)
    if "Mixup" not in found:
        return None
    share = found["CutMix"]["share of batches"]
    return {
        "cutmix": found["CutMix"]["alpha"],
        "label_smoothing": found["label smoothing"],
        "mixup": found["Mixup"]["alpha"],
        "prob": share + found["Mixup"]["share of batches"],
        "switch": share,
    }


def _training(cfg: Config, steps: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"random_resized_crop": None}
    if type(steps[0]).__name__ == "Resize":
        found["first"] = _resize(steps[0])
    for crop in _named(steps, "RandomCrop"):
        found["random_crop"] = {"padding": crop.padding, "size": crop.crop_size[0]}
    crops = [*_named(steps, "RandomResizedCrop"), *_named(steps, "GuidedRandomResizedCrop")]
    if crops:
        found["random_resized_crop"] = {
            "interpolation": _kinds(crop.interpolation for crop in crops),
            "ratio": [round(value, 8) for value in crops[0].aspect_ratio_range],
            "scale": list(crops[0].crop_ratio_range),
        }
    flips = [*_named(steps, "RandomFlip"), *_named(steps, "GuidedRandomFlip")]
    found["hflip"] = flips[0].prob if flips else 0.0
    operations = _named(steps, "RandAugment")
    if operations:
        found["randaugment"] = _randaugment(cfg, operations)
    for erasing in _named(steps, "RandomErasing"):
        found["random_erasing"] = _erasing(cfg, erasing)
    return found


def _resize(step: Any) -> str:
    return f"Resize({step.scale[0]}) {step.interpolation}"


def _kinds(found: Iterator[str]) -> str:
    kinds = sorted(set(found))
    return kinds[0] if len(kinds) == 1 else f"random ({' or '.join(reversed(kinds))})"


def _randaugment(cfg: Config, steps: list[Any]) -> str:
    (step,) = steps
    assert step.channel_order == pipeline.channel_order(cfg).lower()
    if step.interpolation == "random":
        return f"{step.policy}, interpolation random"
    (chance,) = {operation.prob for operation in step.transforms}
    mean = tuple(round(value) for value in pipeline.describe_normalization(cfg)["mean"])
    return (
        f"{step.policy} ({step.num_layers} of {len(step.transforms)} ops, each p={chance}, "
        f"{step.interpolation}, fill = {'mean' if step.fill == mean else step.fill}, on RGB)"
    )


def _erasing(cfg: Config, step: Any) -> dict[str, Any]:
    normalization = pipeline.describe_normalization(cfg)
    assert step.channel_order == pipeline.channel_order(cfg).lower()
    assert (list(step.mean), list(step.std)) == (normalization["mean"], normalization["std"])
    return {
        "area": [step.area_range[0], round(step.area_range[1], 9)],
        "aspect": [round(value, 8) for value in step.aspect_range],
        "count": 1,
        "mode": f"{step.mode} N(0,1) after normalization, unclipped",
        "prob": step.erase_prob,
    }


def _test(steps: list[Any]) -> dict[str, Any] | None:
    """Return the test crop; None if images are used at their own size."""
    if not steps:
        return None
    *first, last = steps
    if type(last).__name__ == "Resize":
        square = "(S, S)" if last.scale[0] == last.scale[1] and not last.keep_ratio else last.scale
        return {"resize": f"{square} {last.interpolation}, no crop"}
    edge = first[-1]
    assert (type(edge).__name__, edge.edge) == ("ResizeEdge", "short")
    found = {
        "crop": last.crop_size[0],
        "interpolation": edge.interpolation,
        "resize_short": edge.scale,
    }
    return {**found, "first": _resize(first[0])} if len(first) > 1 else found


def _setting(backbone: dict, name: str) -> float:
    """Return a setting of a network, or of the networks of a cascade."""
    networks = backbone.get("exits") or [backbone]
    (rate,) = {network.get(name, 0.0) for network in networks}
    return rate
