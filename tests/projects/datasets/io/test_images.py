import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from smallvit.datasets.image_checks import look_at_images
from smallvit.datasets.io.images import CheckedLoadImageFromFile, read_image
from smallvit.datasets.pixels import ToColor
from smallvit.errors import DataError, ImageError


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture(params=["png", "jpg"])
def path(request, tmp_path, picture):
    path = tmp_path / f"picture.{request.param}"
    cv2.imwrite(str(path), picture)
    return path


def test_reads_what_mmcv_reads(path):
    ours = CheckedLoadImageFromFile(to_float32=True)({"img_path": str(path)})
    theirs = LoadImageFromFile(to_float32=True)({"img_path": str(path)})
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours["img"], theirs["img"])
    assert (ours["img_shape"], ours["ori_shape"]) == ((40, 30), (40, 30))


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.95])
def test_truncated_images_are_named(path, part):
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ImageError, match=path.name):
        CheckedLoadImageFromFile()({"img_path": str(path)})
    assert CheckedLoadImageFromFile(ignore_empty=True)({"img_path": str(path)}) is None


def test_other_bytes_are_named(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("not an image at all")
    with pytest.raises(ImageError, match=r"text\.jpg: not an image that cv2 reads"):
        CheckedLoadImageFromFile()({"img_path": str(path)})


def test_trailing_bytes_are_accepted(path):
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert CheckedLoadImageFromFile()({"img_path": str(path)})["img"].shape == (40, 30, 3)


def test_truncated_label_maps_are_named(tmp_path):
    import mmcv
    from mmcv.transforms import LoadAnnotations

    from smallvit.compat import label_maps

    class Loader(LoadAnnotations):
        pass

    label_maps.install(Loader)
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    mmcv.imwrite(np.random.RandomState(0).randint(0, 9, (64, 64), np.uint8), str(whole))
    cut.write_bytes(whole.read_bytes()[:200])
    load = Loader(with_bbox=False, with_label=False, with_seg=True, imdecode_backend="pillow")
    results = load(dict(seg_map_path=str(whole)))
    assert results["gt_seg_map"].shape == (64, 64)
    with pytest.raises(ImageError, match=r"cut\.png: .*truncated"):
        load(dict(seg_map_path=str(cut)))
    with pytest.raises(FileNotFoundError):
        load(dict(seg_map_path=str(tmp_path / "missing.png")))


def test_loaders_with_other_settings():
    theirs = LoadImageFromFile(to_float32=True, color_type="grayscale", ignore_empty=True)
    ours = CheckedLoadImageFromFile.like(theirs)
    assert type(ours) is CheckedLoadImageFromFile
    assert vars(ours) == vars(theirs)
    assert type(theirs) is LoadImageFromFile


def test_pipelines_that_were_built_before_are_checked_too():
    from types import SimpleNamespace

    from mmengine.dataset import Compose

    from smallvit.engine.hooks.bad_samples import _check_images

    stock, plain = LoadImageFromFile(), SimpleNamespace(pipeline=None)
    inner = SimpleNamespace(pipeline=Compose([stock, len]))
    _check_images(SimpleNamespace(datasets=[SimpleNamespace(dataset=inner), plain]))
    first, second = inner.pipeline.transforms
    assert (type(first), second) == (CheckedLoadImageFromFile, len)
    assert type(stock) is LoadImageFromFile


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_images_are_refused_with_the_way_out(ending, channels, tmp_path):
    if ending == "pgm" and channels == 3:
        ending = "ppm"
    values = np.random.default_rng(0).integers(200, 3000, (8, 9, channels)).astype(np.uint16)
    path = tmp_path / f"deep.{ending}"
    cv2.imwrite(str(path), values)
    for settings in (dict(), dict(color_type="grayscale"), dict(imdecode_backend="pillow")):
        with pytest.raises(DataError) as caught:
            CheckedLoadImageFromFile(**settings)({"img_path": str(path)})
        message = str(caught.value)
        assert f"{path}: uint16 values from {values.min()} to {values.max()}" in message
        assert "max_value=4095" in message
    loaded = CheckedLoadImageFromFile(color_type="unchanged")({"img_path": str(path)})
    np.testing.assert_array_equal(loaded["img"].squeeze(), values.squeeze())
    bright = ToColor(max_value=4095)(loaded)["img"]
    assert bright.dtype == np.uint8
    np.testing.assert_array_equal(bright[..., :channels], np.rint(values * (255 / 4095)))


def test_deep_images_can_be_displayed(tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.full((4, 5), 900, np.uint16))
    assert read_image(str(path)).shape == (4, 5, 3)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError, match=r"deep\.png: truncated PNG"):
        read_image(str(path))


@pytest.mark.parametrize(
    ("top", "largest"), [(900, 4095), (9000, 16383), (255, 4095), (20000, 32767)]
)
def test_the_suggested_range(top, largest, tmp_path):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.array([[0, top]], np.uint16))
    with pytest.raises(DataError, match=f"max_value={largest}"):
        CheckedLoadImageFromFile()({"img_path": str(path)})


def test_full_range_images_only_lose_their_lower_bits(tmp_path):
    path = tmp_path / "full.png"
    values = np.array([[0, 300, 65535]], np.uint16)
    cv2.imwrite(str(path), values)
    loaded = CheckedLoadImageFromFile(color_type="grayscale")({"img_path": str(path)})["img"]
    assert np.abs(loaded.astype(float) - values / 257).max() < 1.5
    # Pillow would clip all values above 255 to white.
    with pytest.raises(DataError, match="all values from 255 on would be white"):
        CheckedLoadImageFromFile(imdecode_backend="pillow")({"img_path": str(path)})


def test_floating_point_images(tmp_path):
    path = tmp_path / "float.tif"
    cv2.imwrite(str(path), np.array([[0.0, 0.25, 1.0]], np.float32))
    with pytest.raises(DataError, match=r"float32 values .* max_value=1\.0"):
        CheckedLoadImageFromFile()({"img_path": str(path)})
    loaded = CheckedLoadImageFromFile(color_type="unchanged")({"img_path": str(path)})
    assert ToColor(max_value=1.0)(loaded)["img"][0, :, 0].tolist() == [0, 64, 255]


def turned(path, orientation, size=(30, 20)):
    """An image stored rotated, with a red upper left corner in the file."""
    image = Image.new("RGB", size, (90, 90, 90))
    image.paste((250, 0, 0), (0, 0, 10, 8))
    exif = image.getexif()
    exif[274] = orientation
    image.save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_exif_rotation_must_match_the_annotations(ending, orientation, tmp_path):
    path = turned(tmp_path / f"turned.{ending}", orientation)
    if cv2.imread(path).shape != (30, 20, 3):
        pytest.skip(f"OpenCV {cv2.__version__} does not rotate {ending}")
    stored, upright = (
        dict(img_path=path, height=20, width=30),
        dict(img_path=path, height=30, width=20),
    )
    load, ignore = (
        CheckedLoadImageFromFile(),
        CheckedLoadImageFromFile(color_type="color_ignore_orientation"),
    )
    with pytest.raises(ImageError) as caught:
        load(dict(stored))
    assert "20x30 pixels, but 30x20 in the annotation file" in str(caught.value)
    assert f"its EXIF orientation is {orientation}" in str(caught.value)
    assert "color_type='color_ignore_orientation'" in str(caught.value)
    assert load(dict(upright))["img"].shape == (30, 20, 3)
    red = ignore(dict(stored))["img"]
    assert red.shape == (20, 30, 3)
    assert red[4, 5, 2] > 200
    with pytest.raises(ImageError, match="Set color_type='color' in LoadImageFromFile"):
        ignore(dict(upright))


def test_size_must_match_the_annotations(path):
    with pytest.raises(ImageError, match=r"30x40 pixels, but 33x44 in the annotation file$"):
        CheckedLoadImageFromFile()({"img_path": str(path), "height": 44, "width": 33})
    assert (
        CheckedLoadImageFromFile()({"img_path": str(path), "height": 40, "width": 30}) is not None
    )


class Listed:
    """A dataset of files with the attributes that the check reads."""

    def __init__(self, files, **info):
        self.files, self.info = files, info
        self.pipeline = SimpleNamespace(transforms=[CheckedLoadImageFromFile()])

    def __len__(self):
        return len(self.files)

    def get_data_info(self, index):
        return {"img_path": str(self.files[index]), **self.info}


def test_sampled_files_are_inspected(tmp_path):
    pages = [Image.new("L", (9, 9), value) for value in (0, 9, 99)]
    several = ["moments.gif", "moments.webp", "pages.tif"]
    for name in several:
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    if not cv2.haveImageReader(str(tmp_path / several[0])):  # OpenCV 4 cannot read GIF
        os.remove(tmp_path / several.pop(0))
    colors = np.random.default_rng(0).integers(0, 255, (9, 9, 4), dtype=np.uint8)
    colors[..., 3] = 0
    Image.fromarray(colors).save(tmp_path / "hidden.png")
    opaque = colors.copy()
    opaque[..., 3] = 255
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    upside_down = turned(tmp_path / "upside_down.jpg", 3)
    square = turned(tmp_path / "square.jpg", 6, size=(20, 20))
    files = sorted(tmp_path.iterdir())
    seen = look_at_images(Listed(files), seconds=60)
    assert seen.looked_at == len(several) + 4
    assert seen.faults == []
    names = {trait: [Path(one).name for one in found] for trait, found in seen.traits.items()}
    assert names == {
        "pages": several,
        "transparent": ["hidden.png"],
    }
    seen = look_at_images(Listed([upside_down, square], instances=[]))
    assert seen.traits == {"turned": [upside_down, square]}
    (warning,) = seen.warnings()
    assert "2 of 2 sampled images" in warning
    assert "color_ignore_orientation" in warning


def test_transparent_images(tmp_path):
    colors = np.zeros((2, 2, 4), np.uint8)
    colors[0], colors[1] = (10, 20, 200, 255), (10, 20, 200, 0)
    Image.fromarray(colors).save(tmp_path / "clear.png")
    image = CheckedLoadImageFromFile(color_type="unchanged")(
        {"img_path": str(tmp_path / "clear.png")}
    )
    white = ToColor()(dict(image))["img"]
    assert white[:, 0].tolist() == [[200, 20, 10], [255, 255, 255]]
    gray = ToColor(background=(0, 0, 0), channels=1)(dict(image))["img"]
    assert gray.shape == (2, 2, 1)
    assert gray[1, 0, 0] == 0


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_any_image_becomes_color(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    found = ToColor()(dict(img=image.copy()))["img"]
    assert found.shape == (4, 5, 3)
    np.testing.assert_array_equal(found, np.broadcast_to(image.reshape(4, 5, -1), (4, 5, 3)))


@pytest.mark.parametrize("settings", [dict(max_value=0), dict(channels=2), dict(min_value=70000)])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="ToColor"):
        ToColor(**settings)
