"""Warnings of image decoders are treated as damaged files."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from smallvit.datasets.io.complaints import VARIABLE, complaint, decode_watched, refuses_damage
from smallvit.datasets.io.images import CheckedLoadImageFromFile, decode
from smallvit.errors import ImageError, UserError


def picture():
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC)


def jpeg(progressive=False):
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", picture(), options)[1].tobytes()


def halved(content):
    """Half of a JPEG with the end marker of a complete one; much of it decodes as gray."""
    return content[: len(content) // 2] + b"\xff\xd9"


def flipped(content):
    """A JPEG with one byte changed, which gives an invalid Huffman code."""
    for place in range(len(content) // 2, len(content) - 2):
        changed = content[:place] + b"\x7f" + content[place + 1 :]
        if complaint(changed):
            return changed
    raise AssertionError("libjpeg takes everything")


@pytest.fixture(autouse=True)
def environment():
    """Clear the cached environment variables in each test."""
    refuses_damage.cache_clear()
    yield
    refuses_damage.cache_clear()


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("damage", [halved, flipped])
@pytest.mark.parametrize("progressive", [False, True])
def test_damage_is_named(tmp_path, capfd, backend, damage, progressive):
    path = tmp_path / "half.jpg"
    path.write_bytes(damage(jpeg(progressive)))
    for color in ("color", "grayscale", "unchanged", "color_ignore_orientation"):
        load = CheckedLoadImageFromFile(color_type=color, imdecode_backend=backend)
        with pytest.raises(ImageError, match=r"half\.jpg: damaged: (Corrupt JPEG|Inconsistent)"):
            load({"img_path": str(path)})
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_complete_images_are_accepted(backend):
    assert decode(jpeg(), "x.jpg", backend=backend).shape == (96, 128, 3)
    assert decode(jpeg(progressive=True), "x.jpg", backend=backend).shape == (96, 128, 3)


@pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 does not report such a file")
def test_a_damaged_tiff_is_named():
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "TIFF", compression="tiff_lzw")
    content = bytearray(file.getvalue())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
    # OpenCV either fails or returns an image with a warning.
    with pytest.raises(ImageError, match=r"x\.tif: (damaged: TIFF_Error|not an image|cannot be)"):
        decode(bytes(content), "x.tif")


def test_a_damaged_label_map_is_named(tmp_path):
    from mmcv.transforms import LoadAnnotations

    from smallvit.compat import label_maps
    from smallvit.datasets.io.images import refuse_file

    class Loader(LoadAnnotations):
        pass

    label_maps.install(Loader, refuse_file)
    path = tmp_path / "map.jpg"
    path.write_bytes(halved(jpeg()))
    load = Loader(with_bbox=False, with_label=False, with_seg=True, imdecode_backend="pillow")
    with pytest.raises(ImageError, match=r"map\.jpg: damaged: Corrupt JPEG data"):
        load(dict(seg_map_path=str(path)))


def test_the_check_can_be_disabled(monkeypatch, capfd):
    monkeypatch.setenv(VARIABLE, "accept")
    assert decode(halved(jpeg()), "x.jpg").shape == (96, 128, 3)
    assert decode(halved(jpeg()), "x.jpg", backend="pillow").shape == (96, 128, 3)
    assert "Corrupt JPEG data" in capfd.readouterr().err
    monkeypatch.setenv(VARIABLE, "yes")
    refuses_damage.cache_clear()
    with pytest.raises(UserError, match="SMALLVIT_DAMAGED_IMAGES='yes'"):
        decode(jpeg(), "x.jpg")


def test_other_output_is_passed_on(capfd):
    def speak():
        os.write(2, b"a word of another library\n")
        return 1

    assert decode_watched(jpeg(), speak) == (1, None)
    assert capfd.readouterr().err == "a word of another library\n"

    def fail():
        os.write(2, b"before the failure\n")
        raise KeyError("failure")

    with pytest.raises(KeyError):
        decode_watched(jpeg(), fail)
    os.write(2, b"after it\n")
    assert capfd.readouterr().err == "before the failure\nafter it\n"


def test_threads_do_not_mix_up_their_files():
    whole = jpeg()
    half = halved(whole)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(complaint, [whole, half] * 50))
    assert all(one is None for one in said[::2])
    assert all("premature end" in one for one in said[1::2])


class Files:
    """Every third file is damaged."""

    def __init__(self):
        whole = jpeg()
        self.files = [whole, whole, halved(whole)] * 10

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return complaint(self.files[index]) is not None


def test_worker_processes_do_not_mix_up_their_files():
    assert complaint(jpeg()) is None  # the parent process has already opened its file
    loader = DataLoader(Files(), batch_size=1, num_workers=2, collate_fn=list)
    assert [one for batch in loader for one in batch] == [False, False, True] * 10


def test_a_process_without_error_stream():
    code = (
        "import sys; from smallvit.datasets.io.complaints import decode_watched; "
        "sys.exit(decode_watched(b'\\xff\\xd8\\xff', lambda: 3) != (3, None))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, preexec_fn=lambda: os.close(2), check=False).returncode == 0
