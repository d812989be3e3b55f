"""Config in a checkpoint, with which the checkpoint is sufficient for prediction and export.

It is JSON text under :data:`KEY` that contains the model, its data preprocessor, the preprocessing
steps and the classes, without training settings. Because files may come from untrusted sources, it
is treated as data: each type must be in :mod:`smallvit.engine.known_types`, and no value may refer
to a file, a URL or an import. ``--config`` and ``--trust-checkpoint`` bypass this.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config, ConfigDict

from smallvit.engine.known_types import SCOPES, is_known_model, is_known_transform
from smallvit.errors import CheckpointError
from smallvit.utils.json_files import brief

KEY = "prediction_config"
VERSION = 1
MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_CLASSES = 1 << 20, 40, 4096, 100_000
#: Maximum number in a model, and maximum image side in pixels in a preprocessing step.
MAX_NUMBER, MAX_PIXELS = 1 << 24, 1 << 15
#: Padding values of deep images, which set no size and may be larger, and their maximum.
DEEP_VALUES, MAX_VALUE = ("max_value", "min_value"), 1 << 32
TUPLE, NUMBER = "__tuple__", "__number__"
_NUMBERS = {"inf": math.inf, "-inf": -math.inf}
_WAY_OUT = (
    "pass a config with --config FILE, or use the stored one with --trust-checkpoint, which runs "
    "any code that it names"
)
#: Guided models, and their model types without a teacher.
GUIDED = {
    "GuidedClassifier": "mmpretrain.ImageClassifier",
    "GuidedDetector": "mmdet.MaskRCNN",
    "GuidedSegmentor": "mmseg.EncoderDecoder",
}
#: Keys of training settings, and of files to read.
_LEFT_OUT = ("init_cfg", "train_cfg", "pretrained", "backend_args", "file_client_args")
_REFUSED_KEYS = re.compile(
    r"pretrain(?!_img_size)|checkpoint|ckpt|teacher|import|init_cfg|backend_args|client_args|tokenizer"
    r"|(^|_)(file|files|filename|url|config|hub|repo|dir|folder|cache)$|^path$|(?<!drop)_path$"
    r"|^__|^_base_$|^_delete_$"
)
#: Keys other than ``type`` whose values name types.
_NAMING_KEYS = ("type", "host", "base")
_WORD = re.compile(r"[\w\- ]{0,64}")
#: Steps that read the annotations of an image.
_OF_ANNOTATIONS = re.compile(r"Load(?!Image)")


class UnsuitedError(Exception):
    """A config that cannot be stored; the message gives the reason."""


def describe(cfg: Config, metainfo: Mapping[str, Any] | None) -> str:
    """Serialize the parts of a config that prediction needs as JSON.

    Args:
        cfg (Config): The merged config of a training run.
        metainfo (Mapping, optional): Metadata of its dataset, with the classes.

    Returns:
        str: The JSON text.

    Raises:
        UnsuitedError: If the config contains a value that is not plain.
    """
    if not hasattr(cfg.get("model"), "get"):
        raise UnsuitedError("it has no model")
    content = {
        "version": VERSION,
        "default_scope": cfg.get("default_scope") or "mmengine",
        "model": _plain(_without_training(_network(cfg.model))),
        "data_preprocessor": _plain(_without_training(cfg.get("data_preprocessor"))),
        "pipeline": _plain(list(_steps(cfg))),
        "metainfo": _plain_metainfo(metainfo or {}),
    }
    return json.dumps(content, allow_nan=False)


def _network(model: ConfigDict) -> ConfigDict:
    """Config of the model without its teacher, which is not in the checkpoint."""
    model = deepcopy(model)
    base = GUIDED.get(str(model.get("type")).rpartition(".")[2])
    if base is not None:
        model.pop("guidance", None)
        model["type"] = model.pop("base", base)
    if "train_cfg" in model:  # required by some detectors
        model["train_cfg"] = None
    return model


def _without_training(node: Any) -> Any:
    if hasattr(node, "items"):
        kept = {k: value for k, value in node.items() if value is None or k not in _LEFT_OUT}
        kept.pop("batch_augments", None)
        return {key: _without_training(value) for key, value in kept.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_without_training(value) for value in node)
    return node


def _steps(cfg: Config) -> Iterator[dict]:
    """Steps of the test (or validation) pipeline, without those that read annotations."""
    for name in ("test_dataloader", "val_dataloader"):
        dataset = (cfg.get(name) or {}).get("dataset")
        while hasattr(dataset, "get") and "dataset" in dataset:
            dataset = dataset["dataset"]
        if hasattr(dataset, "get") and dataset.get("pipeline"):
            steps = [_without_training(step) for step in dataset["pipeline"]]
            yield from (step for step in steps if not _reads_annotations(step))
            return


def _reads_annotations(step: Any) -> bool:
    kind = step.get("type") if hasattr(step, "get") else None
    return isinstance(kind, str) and bool(_OF_ANNOTATIONS.match(kind.rpartition(".")[2]))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if math.isnan(value):
            raise UnsuitedError("it contains NaN")
        return {NUMBER: "inf" if value > 0 else "-inf"}
    if isinstance(value, tuple):
        return {TUPLE: [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "items") and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise UnsuitedError(f"it contains {brief(value)}, which is not a plain value")


def _plain_metainfo(metainfo: Mapping[str, Any]) -> dict[str, Any]:
    found = {str(key).lower(): value for key, value in metainfo.items()}
    kept = {}
    if isinstance(found.get("classes"), (list, tuple)):
        kept["classes"] = [str(name) for name in found["classes"]]
    if isinstance(found.get("palette"), (list, tuple)):
        kept["palette"] = [[int(value) for value in color] for color in found["palette"]]
    return kept


def read_stored(content: Mapping[str, Any], name: str, trusted: bool = False) -> Config | None:
    """Read the config in a checkpoint.

    Args:
        content (Mapping): The content of the checkpoint.
        name (str): Path of the checkpoint, for errors.
        trusted (bool): Whether to accept any content. Defaults to False.

    Returns:
        Config: With ``default_scope``, ``model``, ``data_preprocessor``, ``test_dataloader`` and
        ``test_pipeline``; None if the checkpoint has none.

    Raises:
        CheckpointError: If it is damaged, or names something that is not allowed.
    """
    text = content.get(KEY)
    if text is None:
        return None
    try:
        stored = _parse(text)
        if not trusted:
            check(stored)
        return _as_config(stored)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise CheckpointError(
            f"{name}: invalid stored config: {str(reason)[:300]}; {_WAY_OUT}"
        ) from error


def _parse(text: Any) -> dict[str, Any]:
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        raise ValueError(f"it is not a string of at most {MAX_BYTES >> 10} KiB")
    stored = json.loads(text)
    if not isinstance(stored, dict):
        raise ValueError("it is not a JSON object")
    if stored.get("version") != VERSION:
        raise ValueError(f"expected version {VERSION}, got {brief(stored.get('version'))}")
    wanted = {"version", "default_scope", "model", "data_preprocessor", "pipeline", "metainfo"}
    if stored.keys() != wanted or not isinstance(stored["pipeline"], list):
        raise ValueError(f"its keys are {brief(sorted(stored))}")
    return stored


def check(stored: Mapping[str, Any]) -> None:
    """Refuse a stored config that names types outside the allowlist.

    Args:
        stored (Mapping): The parsed config.

    Raises:
        ValueError: If a value is not allowed; the message contains it.
    """
    scope = stored["default_scope"]
    _require_scope(scope)
    if not isinstance(stored["model"], dict) or "type" not in stored["model"]:
        raise ValueError("its model has no type")
    for part in ("model", "data_preprocessor"):
        _Check(is_known_model, MAX_NUMBER).node(stored[part], scope, part)
    for step in stored["pipeline"]:
        if not isinstance(step, dict) or "type" not in step:
            raise ValueError("a step of its pipeline has no type")
        _Check(is_known_transform, MAX_PIXELS, DEEP_VALUES).node(step, scope, "pipeline")
    _check_metainfo(stored["metainfo"])


def _require_scope(scope: Any) -> None:
    if not isinstance(scope, str) or scope not in SCOPES:
        raise ValueError(f"expected a scope of {', '.join(sorted(SCOPES))}, got {brief(scope)}")


class _Check:
    """Check every value of a part of a config."""

    def __init__(self, is_known: Any, most: int, deep: tuple[str, ...] = ()) -> None:
        self.is_known, self.most, self.deep = is_known, most, deep

    def node(self, value: Any, scope: str, place: str, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(value, str):
            self._text(value, scope, place)
        elif isinstance(value, (int, float)):
            if not abs(value) <= self.most:
                raise ValueError(f"{place}={brief(value)} is too large")
        elif isinstance(value, list):
            self._length(value, place)
            for item in value:
                self.node(item, scope, place, depth + 1)
        elif isinstance(value, dict):
            self._length(value, place)
            self._dict(value, scope, place, depth)

    def _length(self, value: Any, place: str) -> None:
        if len(value) > MAX_ITEMS:
            raise ValueError(f"{place} has {len(value)} values")

    def _dict(self, value: dict, scope: str, place: str, depth: int) -> None:
        if value.keys() & {TUPLE, NUMBER}:
            return self._tagged(value, scope, place, depth)
        scope = value.get("_scope_", scope)
        _require_scope(scope)
        for key, item in value.items():
            inner = f"{place}.{key[:40]}"
            if item in (None, False):
                continue
            if _REFUSED_KEYS.search(key):
                raise ValueError(f"{inner}={brief(item)} reads, downloads or imports something")
            if key in _NAMING_KEYS:
                self._name(item, scope, inner)
            elif key == "model_name":
                _require_timm(item, inner)
            elif key in self.deep and isinstance(item, (int, float)) and abs(item) <= MAX_VALUE:
                continue
            else:
                self.node(item, scope, inner, depth + 1)

    def _tagged(self, value: dict, scope: str, place: str, depth: int) -> None:
        if len(value) != 1:
            raise ValueError(f"{place} is {brief(value)}")
        if NUMBER in value:
            if value[NUMBER] not in tuple(_NUMBERS):
                raise ValueError(f"{place} is {brief(value)}")
        elif isinstance(value[TUPLE], list):
            self.node(value[TUPLE], scope, place, depth + 1)
        else:
            raise ValueError(f"{place} is {brief(value)}")

    def _name(self, name: Any, scope: str, place: str) -> None:
        if not isinstance(name, str) or not self.is_known(name, scope):
            raise ValueError(f"{place}={brief(name)} is not an allowed type in a checkpoint")

    def _text(self, text: str, scope: str, place: str) -> None:
        if _WORD.fullmatch(text) is None:
            raise ValueError(f"{place}={brief(text)} may be the name of a file or a module")


def _require_timm(name: Any, place: str) -> None:
    import timm

    # A name with a scheme would be downloaded, or a folder read.
    if not isinstance(name, str) or not re.fullmatch(r"[\w.]{1,80}", name):
        raise ValueError(f"{place}={brief(name)} is not a model of timm")
    if not timm.is_model(name):
        raise ValueError(f"{place}={brief(name)} is not a model of timm {timm.__version__}")


def _check_metainfo(found: Any) -> None:
    if not isinstance(found, dict) or found.keys() - {"classes", "palette"}:
        raise ValueError(f"its metainfo is {brief(found)}")
    for key, item in found.items():
        if not isinstance(item, list) or len(item) > MAX_CLASSES:
            raise ValueError(f"metainfo.{key} is {brief(item)}")
    if not all(isinstance(name, str) for name in found.get("classes", ())):
        raise ValueError("metainfo.classes contains values that are not names")
    for color in found.get("palette", ()):
        if not isinstance(color, list) or len(color) != 3 or not all(map(_is_byte, color)):
            raise ValueError(f"metainfo.palette has {brief(color)}")


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _as_config(stored: Mapping[str, Any]) -> Config:
    pipeline = _restored(stored["pipeline"])
    dataset = {"pipeline": deepcopy(pipeline), "metainfo": stored["metainfo"]}
    model, preprocessor = _restored(stored["model"]), _restored(stored["data_preprocessor"])
    content = {"default_scope": stored["default_scope"], "model": model}
    if preprocessor is not None:
        content["data_preprocessor"] = preprocessor
    return Config(
        dict(content, test_pipeline=pipeline, test_dataloader=dict(batch_size=1, dataset=dataset))
    )


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TUPLE in value:
        return tuple(_restored(item) for item in value[TUPLE])
    if NUMBER in value:
        return _NUMBERS[value[NUMBER]]
    return {key: _restored(item) for key, item in value.items()}
