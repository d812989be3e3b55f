"""Checkpoints for others: weights and what they need alone, with their hash in the name."""

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

#: What of a checkpoint goes along: a cascade's calibration, and the config.
KEPT = (KEY, "multi_exit")
CARD = "README.md"


def publish(checkpoint: str | os.PathLike, out: str | os.PathLike, averaged: bool = False) -> str:
    """Write a checkpoint without the state of its training.

    Args:
        checkpoint (str | os.PathLike): What a training wrote.
        out (str | os.PathLike): The file to be; ``model.pth`` becomes ``model-1a2b3c4d.pth`` by the
            first digits of its SHA-256, which downloads are checked by. A folder takes the
            checkpoint's name.
        averaged (bool): Take the averaged weights instead, where there are some. Defaults to
            False.

    Returns:
        str: The file that was written.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        UserError: If the file is there already.
    """
    content = published_content(read_checkpoint(checkpoint), os.fspath(checkpoint), averaged)
    out = os.fspath(out)
    if osp.isdir(out):
        out = osp.join(out, osp.basename(os.fspath(checkpoint)))
    stem, suffix = osp.splitext(out)
    folder = osp.dirname(osp.abspath(out))
    if not osp.isdir(folder):
        raise UserError(f"no such folder: {folder}; create it first")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        temporary = osp.join(place, f"model{suffix}")
        _write(temporary, content)
        path = f"{stem}-{file_sha256(temporary)[:8]}{suffix}"
        if osp.lexists(path):
            raise UserError(f"{path} is there already: these weights were published before")
        for name in sorted(os.listdir(place), reverse=True):  # a SHA-256 beside it, and the file
            os.replace(osp.join(place, name), path + name.removeprefix(f"model{suffix}"))
    return path


def _write(path: str, content: Mapping[str, Any]) -> None:
    if path.endswith(".safetensors"):
        raise UserError(
            "a .safetensors file holds weights alone, and no config that predicts: name a .pth file"
        )
    write_checkpoint(path, content)


def published_content(
    checkpoint: Mapping[str, Any], name: str, averaged: bool = False
) -> dict[str, Any]:
    """Take out of a checkpoint what others need.

    Args:
        checkpoint (Mapping): What was read.
        name (str): Its file, for errors.
        averaged (bool): Take the averaged weights. Defaults to False.

    Returns:
        dict[str, Any]: ``state_dict``, ``meta`` with the classes, the config, a calibration.

    Raises:
        CheckpointError: If it holds no weights.
    """
    state = checkpoint.get("state_dict")
    if averaged:
        state = _averaged(checkpoint, name)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name} is no checkpoint of a training: it has no state_dict")
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    kept = {key: checkpoint[key] for key in KEPT if key in checkpoint}
    described = {"dataset_meta": meta["dataset_meta"]} if meta.get("dataset_meta") else {}
    weights = {key: _own(value) for key, value in state.items()}
    return {"meta": described, "state_dict": weights, **kept}


def _own(value: Any) -> Any:
    """A tensor without the memory around it, of which it may be a part."""
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value


def _averaged(checkpoint: Mapping[str, Any], name: str) -> dict[str, Any]:
    state = checkpoint.get("ema_state_dict")
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name} holds no averaged weights: it was trained without EMA")
    found = {key.removeprefix("module."): value for key, value in state.items()}
    found.pop("steps", None)
    return found


def push_to_hub(
    checkpoint: str | os.PathLike,
    target: str | os.PathLike,
    private: bool = False,
    note: str = "",
) -> str:
    """Put a model with a card into a repository of Hugging Face, or into a folder.

    Args:
        checkpoint (str | os.PathLike): What a training wrote.
        target (str | os.PathLike): ``hf://OWNER/NAME``, or a folder to write.
        private (bool): Whether a new repository is private. Defaults to False.
        note (str): Sentences for the card: data, license, what it is not for. Defaults to none.

    Returns:
        str: Address of the repository, or the folder.

    Raises:
        CheckpointError: If the checkpoint cannot be read, or has no config.
        UserError: If ``huggingface_hub`` is missing, or the folder is not empty.
    """
    name = os.fspath(checkpoint)
    content = published_content(read_checkpoint(name), name)
    cfg = read_stored(content, name)
    if cfg is None:
        raise CheckpointError(f"{name} holds no config, without which others cannot use it")
    target = os.fspath(target)
    if not target.startswith(SCHEME):
        if osp.isdir(target) and os.listdir(target):
            raise UserError(f"{target} holds files: name a new folder")
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
        content (Mapping): What is published.
        cfg (Config): Its config.
        name (str): Name of the checkpoint.
        target (str): Where it will be.
        note (str): More sentences. Defaults to none.

    Returns:
        str: Markdown, with the header that Hugging Face reads.
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
    """Make a predictor of a published model.

    Args:
        name (str | os.PathLike): ``hf://OWNER/NAME``, ``hf://OWNER/NAME@REVISION``, or a folder
            that :func:`push_to_hub` wrote.
        **settings (Any): Other arguments of :class:`smallvit.apis.Predictor`.

    Returns:
        Predictor: It.
    """
    from smallvit.apis.predictor import Predictor

    return Predictor(name, **settings)
