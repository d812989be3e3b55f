"""Size limits of images: oversized images are rejected by their header."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from smallvit.datasets.io.images import CheckedLoadImageFromFile, decode
from smallvit.datasets.io.limits import MAX_PIXELS, VARIABLE, max_pixels, size_of
from smallvit.errors import ImageError, UserError

SIDE = 20000


def encode(form, size=(40, 24), mode="RGB", **options):
    file = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8))
    image.convert(mode).save(file, form, **options)
    return file.getvalue()


def png(width, height):
    """A complete black image with one bit per pixel."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = bytes((width + 7) // 8 + 1)
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(row * 100) for _ in range(height // 100)) + packed.flush()
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def patched(form, before, layout, side=SIDE, **options):
    """A small file whose header claims a large size."""
    content = bytearray(encode(form, **options))
    place = content.index(before) + len(before)
    struct.pack_into(layout, content, place, side, side)
    return bytes(content)


def tiff():
    content = bytearray(encode("TIFF"))
    for tag in (256, 257):
        place = content.index(struct.pack("<HHI", tag, 4, 1))
        struct.pack_into("<I", content, place + 8, SIDE)
    return bytes(content)


BOMBS = {
    "png": lambda: png(SIDE, SIDE),
    "jpg": lambda: patched("JPEG", b"\xff\xc0\x00\x11\x08", ">HH"),
    "progressive.jpg": lambda: patched("JPEG", b"\xff\xc2\x00\x11\x08", ">HH", progressive=True),
    "gif": lambda: patched("GIF", b"GIF87a", "<HH"),
    "bmp": lambda: patched("BMP", struct.pack("<I", 40), "<II"),
    "webp": lambda: patched("WEBP", b"\x9d\x01\x2a", "<HH", side=16000),
    "tif": tiff,
}


@pytest.fixture(autouse=True)
def environment():
    """Clear the cached environment variables in each test."""
    max_pixels.cache_clear()
    yield
    max_pixels.cache_clear()


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_its_name(tmp_path, name, backend):
    path = tmp_path / f"bomb.{name}"
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 60_000
    with pytest.raises(ImageError) as caught:
        CheckedLoadImageFromFile(imdecode_backend=backend)({"img_path": str(path)})
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "pixels in a file of" in message
    assert f"{VARIABLE}=" in message


def test_a_label_map_that_is_a_bomb(tmp_path):
    from mmcv.transforms import LoadAnnotations

    from smallvit.compat import label_maps
    from smallvit.datasets.io.images import refuse_file

    class Loader(LoadAnnotations):
        pass

    label_maps.install(Loader, refuse_file)
    path = tmp_path / "map.png"
    path.write_bytes(png(SIDE, SIDE))
    load = Loader(with_bbox=False, with_label=False, with_seg=True, imdecode_backend="pillow")
    with pytest.raises(ImageError, match=r"map\.png: 20000x20000 pixels in a file of"):
        load(dict(seg_map_path=str(path)))


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_the_limit_can_be_disabled(monkeypatch, backend):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    content = png(200, 100)
    monkeypatch.setenv(VARIABLE, "20000")
    assert decode(content, "x.png", backend=backend).shape == (100, 200, 3)
    monkeypatch.setenv(VARIABLE, "19999")
    max_pixels.cache_clear()
    with pytest.raises(ImageError, match=r"x\.png: 200x100 pixels .*SMALLVIT_MAX_PIXELS=20000"):
        decode(content, "x.png", backend=backend)


@pytest.mark.parametrize("text", ["", "0", "-1", "1e9", "many", "\N{SUPERSCRIPT TWO}"])
def test_non_numeric_limits_are_rejected(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UserError, match=VARIABLE):
        max_pixels()


def test_the_limit_without_the_switch(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert max_pixels() == MAX_PIXELS


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", dict(progressive=True)),
        ("JPEG", dict(mode="L")),
        ("JPEG", dict(mode="CMYK")),
        ("JPEG", dict(comment=b"\xff\xc0\x00\x11\x08 a comment that looks like a frame")),
        ("JPEG", dict(restart_marker_blocks=1)),
        ("JPEG", dict(exif=b"Exif\x00\x00" + b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x01\x00\x01")),
        ("PNG", dict(mode="P")),
        ("WEBP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("BMP", {}),
    ],
)
def test_size_of(form, options):
    assert size_of(encode(form, size=(41, 23), **options)) == (41, 23)


def test_fill_bytes_before_a_marker():
    content = encode("JPEG", size=(41, 23))
    place = content.index(b"\xff\xc0")
    assert size_of(content[:place] + b"\xff\xff\xff" + content[place:]) == (41, 23)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_headers_give_no_size(form):
    content = encode(form)
    for length in range(0, 24):
        size_of(content[:length])  # must not raise
    assert size_of(b"not an image") is None
