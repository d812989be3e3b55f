"""Checkpoint downloads: cached by URL, verified, and written atomically."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import os.path as osp
import re
import time
from http.client import HTTPException
from typing import BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import torch
from mmengine.logging import print_log

from smallvit.engine.checkpoint.digests import file_sha256
from smallvit.errors import CheckpointError
from smallvit.utils.files import remove_quietly, whole_file, write_whole

#: Leading digits of the SHA-256 in file names, as in the model zoos of torch and the MM libraries.
_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.")
_DATE = re.compile(r"(19|20)\d{6}")
#: Metadata file next to a download.
SOURCE = "source.json"
#: Seconds to wait before each attempt; the download fails after the last one.
PAUSES = (0.0, 1.0, 5.0)
TIMEOUT = 60.0
_DISK = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EPERM)
_CHUNK = 1 << 20
#: Transient errors, after which a download is tried again.
_ON_THE_WAY = (OSError, HTTPException)


def download(url: str, folder: str | None = None, progress: bool = True) -> str:
    """Download a checkpoint, unless it was downloaded from the same URL before.

    The length and, if the file name contains it, the SHA-256 are verified; a truncated file is
    downloaded again. Each URL has its own cache folder, named by the hash of the URL.

    Args:
        url (str): A URL with the scheme http or, preferably, https.
        folder (str, optional): Cache folder. Defaults to None, torch's cache.
        progress (bool): Show a progress bar. Defaults to True.

    Returns:
        str: Path of the file.

    Raises:
        CheckpointError: If the download fails, or the file does not match its name.
    """
    folder = folder or osp.join(torch.hub.get_dir(), "checkpoints")
    name = _name(url)
    place = osp.join(folder, "by_address", hashlib.sha256(url.encode()).hexdigest()[:20])
    path = osp.join(place, name)
    if url.startswith("http://"):
        print_log(
            f"{url} is not encrypted and can be modified in transit. Use https, or a file with a "
            "known SHA-256",
            logger="current",
            level=30,
        )
    if _is_whole(path, place):
        return path
    earlier = osp.join(folder, name)
    if _stated_digest(name) and osp.isfile(earlier) and _has_stated_digest(earlier):
        return earlier  # downloaded by torch from an unknown URL
    os.makedirs(place, exist_ok=True)
    _fetch(url, path, progress)
    return path


def forget(path: str) -> None:
    """Discard a download, so that the next request fetches it again.

    Args:
        path (str): Result of :func:`download`.
    """
    remove_quietly(osp.join(osp.dirname(path), SOURCE))


def _name(url: str) -> str:
    name = osp.basename(unquote(urlsplit(url).path))
    return re.sub(r"[^\w.+-]", "_", name)[-200:].lstrip(".") or "checkpoint"


def _stated_digest(name: str) -> str | None:
    """Digest digits in a file name, unless they are a date."""
    found = _DIGEST.findall(name)
    return found[-1] if found and not _DATE.fullmatch(found[-1]) else None


def _has_stated_digest(path: str) -> bool:
    return file_sha256(path).startswith(_stated_digest(osp.basename(path)))


def _is_whole(path: str, place: str) -> bool:
    try:
        with open(osp.join(place, SOURCE)) as file:
            stored = json.load(file)
        return osp.getsize(path) == stored["length"] and file_sha256(path) == stored["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fetch(url: str, path: str, progress: bool) -> None:
    for number, pause in enumerate(PAUSES, start=1):
        time.sleep(pause)
        try:
            return _fetch_once(url, path, progress)
        except _ON_THE_WAY as error:
            code = getattr(error, "code", None)  # HTTP status
            known = code is not None and code < 500
            if known or _is_of_disk(error) or number == len(PAUSES):
                reason = f"the server returned {code} {error.reason}" if code else _reason(error)
                raise _failure(url, reason) from error
        except ValueError as error:
            raise _failure(url, str(error)) from error


def _is_of_disk(error: Exception) -> bool:
    return getattr(error, "errno", None) in _DISK


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(reason) or type(error).__name__


def _failure(url: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"cannot download {url}: {reason}. Try again, or download it manually and pass the path of "
        "the file"
    )


def _fetch_once(url: str, path: str, progress: bool) -> None:
    remove_quietly(osp.join(osp.dirname(path), SOURCE))
    request = Request(url, headers={"User-Agent": "smallvit", "Accept-Encoding": "identity"})
    with urlopen(request, timeout=TIMEOUT) as answer, whole_file(path) as temporary:
        if url.startswith("https://") and not answer.geturl().startswith("https://"):
            raise ValueError(f"redirected to {answer.geturl()}, which is not encrypted")
        stated = answer.headers.get("Content-Length")
        length, digest = _copy(answer, temporary, stated, progress)
        if stated is not None and length != int(stated):
            raise ConnectionError(f"received {length} of {stated} bytes")
        wanted = _stated_digest(osp.basename(path))
        if wanted is not None and not digest.startswith(wanted):
            raise ValueError(
                f"expected a SHA-256 starting with {wanted} as in the file name, got "
                f"{digest[:16]}... for {length} bytes: the file is damaged, or a different one"
            )
    # The query string is left out, as it may contain credentials.
    content = {"url": url.partition("?")[0], "length": length, "sha256": digest}
    write_whole(osp.join(osp.dirname(path), SOURCE), json.dumps(content))


def _copy(source: BinaryIO, path: str, stated: str | None, progress: bool) -> tuple[int, str]:
    digest, length = hashlib.sha256(), 0
    total = int(stated) if stated is not None else None
    bar = torch.hub.tqdm(total=total, disable=not progress, unit="B", unit_scale=True)
    with open(path, "wb") as target, bar:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            digest.update(chunk)
            length += len(chunk)
            bar.update(len(chunk))
    return length, digest.hexdigest()
