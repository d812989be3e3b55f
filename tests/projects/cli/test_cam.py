"""The ``smallvit cam`` command."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from smallvit.analysis.pictures import Tile
from smallvit.cli import cam
from smallvit.errors import ImageError, UserError


def test_a_class_is_found_by_name_or_number():
    assert cam.label_of("dog", ["cat", "dog"]) == 1
    assert cam.label_of("0", ["cat", "dog"]) == 0
    assert cam.label_of("0", ["1", "0"]) == 1
    for text in ("fox", "2", "-1"):
        with pytest.raises(UserError, match="cat, dog"):
            cam.label_of(text, ["cat", "dog"])


def test_flags_of_another_method_are_refused(capsys):
    with pytest.raises(SystemExit):
        cam.parse_args(["x.pth", "a.png", "--method", "rollout", "--label", "cat"])
    assert "--label and --block require --method gradcam" in capsys.readouterr().err


def test_maps_are_overlaid_on_their_image():
    picture = np.full((20, 30, 3), 200, np.uint8)
    heat = torch.zeros(2, 3)
    heat[0, 0] = 1
    tile = cam.heat_tile(picture, heat, "a", 40)
    assert tile.image.shape[0] == 40
    over = tile.image[:, -60:]
    assert over[2, 2].tolist() != over[-3, -3].tolist()
    assert (tile.image[:, :60] == 200).all()


@pytest.mark.parametrize(("count", "side"), [(1, 1), (5, 3), (100, 8)])
def test_kernels_are_drawn_in_a_square(count, side):
    sheet = cam.kernel_sheet(torch.randn(count, 3, 3))
    assert sheet.shape == (side * 4 * cam.PIXELS, side * 4 * cam.PIXELS, 3)


@pytest.mark.parametrize(
    ("method", "backbone", "tiles"),
    [
        ("gradcam", "dwnet", 1),
        ("kernels", "dynamic", 5),
        ("rollout", "vit", 1),
        ("heads", "dhvt", 2),
    ],
)
def test_each_method_is_drawn(method, backbone, tiles, monkeypatch):
    from mmpretrain.models import ImageClassifier

    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    made = dict(
        dwnet=dict(type="smallvit.DWNet", arch="mini"),
        dynamic=dict(type="smallvit.DWNet", arch="mini", conv="dynamic"),
        vit=dict(type="mmpretrain.VisionTransformer", arch=arch, img_size=32, patch_size=8),
        dhvt=dict(type="smallvit.DHVT", arch=arch, img_size=32, patch_size=8),
    )[backbone]
    channels = 16 if backbone in ("vit", "dhvt") else 256
    head = dict(type="mmpretrain.LinearClsHead", num_classes=2, in_channels=channels)
    model = ImageClassifier(made, head=head)
    model.eval()
    image, inputs = np.zeros((32, 32, 3), np.uint8), dict(inputs=torch.rand(1, 3, 32, 32))
    monkeypatch.setattr(cam, "preprocess_image", lambda predictor, path, image: inputs)
    steps = SimpleNamespace(shown=lambda image: image)
    predictor = SimpleNamespace(model=model, classes=("cat", "dog"), steps=steps)
    args = SimpleNamespace(method=method, block=-1, size=32)
    drawn = cam.draw(predictor, "a/b.png", image, None, args)
    assert len(drawn) >= tiles
    assert all(tile.caption.startswith("b.png") for tile in drawn)
    assert drawn[0].image.dtype == np.uint8


def test_a_broken_image_is_named_and_the_others_are_drawn(monkeypatch, capsys, tmp_path):
    def read(path):
        if path == "broken.png":
            raise ImageError("broken.png is cut off")
        return np.zeros((8, 8, 3), np.uint8)

    class OnlyReads:
        classes = ()

        def __init__(self, *args, **kwargs):
            self.read = read

    monkeypatch.setattr("smallvit.apis.Predictor", OnlyReads)
    tile = Tile(np.zeros((8, 8, 3), np.uint8), "", set())
    monkeypatch.setattr(cam, "draw", lambda *args: [tile])
    out = tmp_path / "cam.png"
    assert cam.main(["x.pth", "a.png", "broken.png", "b.png", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "2 images" in said.out
    assert said.err == "not read: broken.png is cut off\n"
    assert out.exists()
    with pytest.raises(UserError, match="no image could be read"):
        cam.main(["x.pth", "broken.png", "--out", str(tmp_path / "none.png")])
    assert not (tmp_path / "none.png").exists()
