"""Publish checkpoints: without training state, with their hash in the file name."""

from __future__ import annotations

import os
import os.path as osp
import tempfile
from collections.abc import Mapping
from typing import Any

import torch

from smallvit.engine.checkpoint.digests import file_sha256
from smallvit.engine.checkpoint.formats import write_checkpoint, write_safetensors
from smallvit.engine.checkpoint.published import SCHEME, WEIGHTS, huggingface_hub
from smallvit.engine.checkpoint.reading import read_checkpoint
from smallvit.engine.stored_config import KEY, read_stored
from smallvit.errors import CheckpointError, UserError
from smallvit.utils.files import write_whole

#: Keys of a checkpoint that are published: the config, and the calibration of a cascade.
KEPT = (KEY, "multi_exit")
CARD = "README.md"


def publish(checkpoint: str | os.PathLike, out: str | os.PathLike, averaged: bool = False) -> str:
    """Write a checkpoint without training state.

    Args:
        checkpoint (str | os.PathLike): Checkpoint of a training run.
        out (str | os.PathLike): Path to write; ``model.pth`` becomes ``model-1a2b3c4d.pth`` with
            the first digits of its SHA-256, which are verified on download. In a folder, the
            name of the checkpoint is used.
        averaged (bool): Publish the averaged (EMA) weights instead. Defaults to False.

    Returns:
        str: Path of the written file.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or has no averaged weights to publish.
        UserError: If the file already exists, or its folder does not.
    """
    content = published_content(read_checkpoint(checkpoint), os.fspath(checkpoint), averaged)
    out = os.fspath(out)
    if osp.isdir(out):
        out = osp.join(out, osp.basename(os.fspath(checkpoint)))
    stem, suffix = osp.splitext(out)
    folder = osp.dirname(osp.abspath(out))
    if not osp.isdir(folder):
        raise UserError(f"no such folder: {folder}. Create it first")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        temporary = osp.join(place, f"model{suffix}")
        _write(temporary, content)
        path = f"{stem}-{file_sha256(temporary)[:8]}{suffix}"
        if osp.lexists(path):
            raise UserError(f"{path} already exists: these weights have already been published")
        for name in sorted(os.listdir(place), reverse=True):  # a SHA-256 beside it, and the file
            os.replace(osp.join(place, name), path + name.removeprefix(f"model{suffix}"))
    return path


def _write(path: str, content: Mapping[str, Any]) -> None:
    if path.endswith(".safetensors"):
        raise UserError("a .safetensors file contains only weights and no config. Pass a .pth file")
    write_checkpoint(path, content)


def published_content(
    checkpoint: Mapping[str, Any], name: str, averaged: bool = False
) -> dict[str, Any]:
    """Select the parts of a checkpoint to publish.

    Args:
        checkpoint (Mapping): Content of the checkpoint.
        name (str): Path of the checkpoint, for errors.
        averaged (bool): Use the averaged (EMA) weights. Defaults to False.

    Returns:
        dict[str, Any]: ``state_dict``, ``meta`` with the classes, and, if present, the config and
        the calibration.

    Raises:
        CheckpointError: If the checkpoint has no weights.
    """
    state = checkpoint.get("state_dict")
    if averaged:
        state = _averaged(checkpoint, name)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name} is not a training checkpoint: it has no state_dict")
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    kept = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    described = {"dataset_meta": meta["dataset_meta"]} if meta.get("dataset_meta") else {}
    weights = {key: _own(value) for key, value in state.items()}
    return {"meta": described, "state_dict": weights, **kept}


def _own(value: Any) -> Any:
    """Copy a tensor, so that it does not share the storage of a larger one."""
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value


def _averaged(checkpoint: Mapping[str, Any], name: str) -> dict[str, Any]:
    state = checkpoint.get("ema_state_dict")
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name} has no averaged weights: it was trained without EMA")
    found = {key.removeprefix("module."): value for key, value in state.items()}
    found.pop("steps", None)
    return found


def push_to_hub(
    checkpoint: str | os.PathLike,
    target: str | os.PathLike,
    private: bool = False,
    note: str = "",
) -> str:
    """Upload a model with a model card to the Hugging Face Hub, or write both to a folder.

    Args:
        checkpoint (str | os.PathLike): Checkpoint of a training run.
        target (str | os.PathLike): ``hf://OWNER/NAME``, or a folder to write.
        private (bool): Whether a new repository is private. Defaults to False.
        note (str): Text for the card, such as data, license and limitations. Defaults to "".

    Returns:
        str: URL of the repository, or path of the folder.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or has no config.
        UserError: If ``huggingface_hub`` is missing, or the folder is not empty.
    """
    name = os.fspath(checkpoint)
    content = published_content(read_checkpoint(name), name)
    cfg = read_stored(content, name)
    if cfg is None:
        raise CheckpointError(f"{name} contains no config, which is required for publishing")
    target = os.fspath(target)
    if not target.startswith(SCHEME):
        if osp.isdir(target) and os.listdir(target):
            raise UserError(f"{target} is not empty. Choose a new folder")
        os.makedirs(target, exist_ok=True)
        _fill(target, content, card_of(content, cfg, osp.basename(name), target, note))
        return target
    repository = target.removeprefix(SCHEME)
    hub = huggingface_hub()
    with tempfile.TemporaryDirectory() as folder:
        _fill(folder, content, card_of(content, cfg, osp.basename(name), target, note))
        api = hub.HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    return str(address)


def _fill(folder: str, content: Mapping[str, Any], card: str) -> None:
    import json

    state = {key: value for key, value in content["state_dict"].items() if torch.is_tensor(value)}
    meta = {key: content[key] for key in KEPT if key in content}
    described = content["meta"].get("dataset_meta")
    if described is not None:
        meta["dataset_meta"] = json.dumps(described)
    write_safetensors(osp.join(folder, WEIGHTS), state, meta)
    write_whole(osp.join(folder, CARD), card)


def card_of(content: Mapping[str, Any], cfg: Any, name: str, target: str, note: str = "") -> str:
    """Write a model card.

    Args:
        content (Mapping): Published content, see :func:`published_content`.
        cfg (Config): Config of the model.
        name (str): File name of the checkpoint.
        target (str): Repository or folder of the model.
        note (str): Additional text. Defaults to "".

    Returns:
        str: Markdown with the metadata header of the Hugging Face Hub.
    """
    task = {
        "mmpretrain": "image-classification",
        "mmdet": "object-detection",
        "mmseg": "image-segmentation",
    }[cfg.default_scope]
    classes = cfg.test_dataloader.dataset.metainfo.get("classes") or ()
    shown = ", ".join(_escaped(each) for each in classes[:50])
    more = f" and {len(classes) - 50} more" if len(classes) > 50 else ""
    backbone = cfg.model.get("backbone") or {}
    network = str(backbone.get("host") or backbone.get("type"))
    count = sum(v.numel() for v in content["state_dict"].values() if torch.is_tensor(v))
    lines = [
        *("---", f"pipeline_tag: {task}", "library_name: smallvit", "---", ""),
        f"# {_escaped(osp.splitext(name)[0])}",
        "",
        f"{network.rpartition('.')[2]} in a {cfg.model.type.rpartition('.')[2]}, "
        f"{count / 1e6:.2f} M values, trained with smallvit.",
        "",
        f"Classes ({len(classes)}): {shown}{more}" if classes else "Classes without names.",
        "",
        "```python",
        "from smallvit.apis import Predictor",
        "",
        f'predictor = Predictor("{target}")',
        'print(predictor("image.jpg"))',
        "```",
    ]
    return "\n".join([*lines, *(["", note] if note else []), ""])


def _escaped(text: Any) -> str:
    return "".join(f"\\{each}" if each in "\\`*_{}[]<>#|" else each for each in str(text))


def from_pretrained(name: str | os.PathLike, **settings: Any) -> Any:
    """Create a predictor from a published model.

    Args:
        name (str | os.PathLike): ``hf://OWNER/NAME``, ``hf://OWNER/NAME@REVISION``, or a folder
            written by :func:`push_to_hub`.
        **settings (Any): Other arguments of :class:`smallvit.apis.Predictor`.

    Returns:
        Predictor: Predictor with the published model.
    """
    from smallvit.apis.predictor import Predictor

    return Predictor(name, **settings)
