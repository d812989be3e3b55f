import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile

from smallvit.datasets.io.images import CheckedLoadImageFromFile
from smallvit.errors import ImageError


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


def test_trailing_bytes_are_no_damage(path):
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
    with pytest.raises(ImageError, match=r"cut\.png: image file is truncated"):
        load(dict(seg_map_path=str(cut)))
    with pytest.raises(FileNotFoundError):
        load(dict(seg_map_path=str(tmp_path / "missing.png")))


def test_a_loader_with_the_settings_of_another():
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
