"""Multi-band images from .npy and TIFF files: axis of the bands and error handling."""

import io
import pickle

import numpy as np
import pytest

from smallvit.datasets.io import limits
from smallvit.datasets.io.bands import Bands, visible
from smallvit.datasets.io.images import read_image
from smallvit.datasets.io.stored_arrays import read_array
from smallvit.errors import DataError, ImageError, SmallvitError, UserError

#: (H, W, C), all values different.
IMAGE = np.arange(20 * 30 * 6, dtype=np.uint16).reshape(20, 30, 6)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def tiff(array, **options):
    tifffile = pytest.importorskip("tifffile", reason="the extra smallvit[bands] reads TIFF")
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        IMAGE,
        IMAGE.transpose(2, 0, 1),
        np.asfortranarray(IMAGE),
        IMAGE.astype(">f4"),
        IMAGE.astype(np.float64),
        IMAGE.astype(np.int32),
    ],
)
def test_either_axis_of_an_array_and_any_type(array):
    found = Bands(6).decode(npy(array), "x.npy")
    assert found.dtype == np.float32
    assert (found == IMAGE).all()
    assert (Bands(6).of_array(array) == IMAGE).all()


def test_some_bands_in_the_order_given():
    found = Bands(6, (5, 0)).decode(npy(IMAGE), "x.npy")
    assert (found == IMAGE[..., [5, 0]]).all()
    assert (Bands(6, (2,)).decode(npy(IMAGE), "x.npy") == IMAGE[..., 2]).all()
    assert Bands(1).decode(npy(IMAGE[..., 0]), "x.npy").shape == (20, 30)


def test_an_ambiguous_axis_must_be_given():
    array = np.arange(6 * 8 * 6, dtype=np.float32).reshape(6, 8, 6)
    with pytest.raises(DataError, match=r"x.npy: .* both be the 6 bands; .*--band-axis"):
        Bands(6).decode(npy(array), "x.npy")
    assert (Bands(6, axis="last").decode(npy(array), "x.npy") == array).all()
    assert Bands(6, axis="first").decode(npy(array), "x.npy").shape == (8, 6, 6)


#: Layouts written by other programs: samples of a page, planes, pages, and unintended pages.
WAYS = [
    (IMAGE, dict(photometric="minisblack", planarconfig="contig")),
    (IMAGE.transpose(2, 0, 1), dict(photometric="minisblack", planarconfig="separate")),
    (IMAGE.transpose(2, 0, 1), dict(photometric="minisblack")),
    (IMAGE.transpose(2, 0, 1), dict(photometric="minisblack", metadata=None)),
    (IMAGE.transpose(2, 0, 1), dict(imagej=True)),
    (IMAGE, dict(photometric="minisblack")),
    (IMAGE, dict(photometric="minisblack", planarconfig="contig", compression="zlib")),
    (IMAGE.astype(np.float32), dict(photometric="minisblack", planarconfig="contig")),
]


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_bands_of_tiff(way):
    array, options = WAYS[way]
    assert (Bands(6).decode(tiff(array, **options), "x.tif") == IMAGE).all()


def test_a_tiff_tells_its_axis():
    """Even if the height equals the number of bands, where an array is ambiguous."""
    square = IMAGE[:6]
    content = tiff(square, photometric="minisblack", planarconfig="contig")
    found, axis = Bands(6).decode_with_axis(content, "x.tif")
    assert (found == square).all()
    assert axis is None
    assert Bands(6).decode_with_axis(npy(IMAGE), "x.npy")[1] == "last"


def changed(place, value):
    array = IMAGE.astype(np.float32)
    array[0, 0, place] = value
    return npy(array)


WRONG = {
    "another number": (npy(IMAGE[..., :5]), DataError, r"expected 6 bands, .*--channels 5"),
    "two axes": (npy(IMAGE[..., 0]), DataError, "got shape"),
    "four axes": (npy(IMAGE[None]), DataError, "one image per file"),
    "NaN": (changed(3, np.nan), DataError, "1 values of band 3 are NaN or infinite"),
    "infinite": (changed(5, np.inf), DataError, "band 5 are NaN or infinite"),
    "complex": (npy(IMAGE.astype(complex)), DataError, "type complex128"),
    "bool": (npy(IMAGE > 3), DataError, "type bool"),
    "pickled": (npy(np.array([{}]), allow_pickle=True), DataError, "pickled Python objects"),
    "truncated": (npy(IMAGE)[:-1], ImageError, "truncated .npy file"),
    "damaged": (b"\x93NUMPY\x01\x00\x10\x00{'descr': oops", ImageError, "damaged .npy file"),
    "empty": (b"", ImageError, "empty file"),
    "no pixel": (npy(IMAGE[:0]), ImageError, "no pixel"),
    "a pickle": (pickle.dumps(IMAGE), ImageError, "neither .npy nor TIFF"),
    "a photograph": (b"\xff\xd8\xff", ImageError, "neither .npy nor TIFF"),
    "no TIFF": (b"II*\x00" + bytes(20), (ImageError, UserError), "x.npy: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_named(name):
    content, error, text = WRONG[name]
    with pytest.raises(error, match=text) as caught:
        Bands(6).decode(content, "x.npy")
    assert str(caught.value).startswith("x.npy: ")


def test_unused_bands_may_be_invalid():
    assert Bands(6, (0, 1)).decode(changed(3, np.nan), "x.npy").shape == (20, 30, 2)


def test_a_truncated_tiff_is_damaged():
    content = tiff(IMAGE, photometric="minisblack", planarconfig="contig", compression="zlib")
    with pytest.raises(ImageError, match=r"x.tif: cannot be decoded"):
        Bands(6).decode(content[: len(content) // 2], "x.tif")


@pytest.mark.parametrize("missing", ["tifffile", "imagecodecs"])
def test_missing_tiff_readers_are_named(missing, monkeypatch):
    content = b"II*\x00"
    if missing == "imagecodecs":
        tifffile = pytest.importorskip("tifffile", reason="the extra smallvit[bands] reads TIFF")

        def refuse(*args):
            raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile, "TiffFile", refuse)
    else:
        monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(UserError, match=rf"x.tif: .*{missing}.*smallvit\[bands\]"):
        Bands(6).decode(content, "x.tif")


@pytest.mark.parametrize("kind", ["npy", "tiff", "zlib"])
def test_any_damage_is_one_of_our_errors(kind):
    """With ten random bytes changed, the image is either read or reported."""
    options = dict(photometric="minisblack", planarconfig="contig")
    options |= {"compression": "zlib"} if kind == "zlib" else {}
    whole = npy(IMAGE) if kind == "npy" else tiff(IMAGE, **options)
    random, named = np.random.default_rng(0), []
    for _ in range(60):
        content = np.frombuffer(whole, np.uint8).copy()
        # Half of the positions are in the header.
        places = [*random.integers(0, 200, 5), *random.integers(0, len(content), 5)]
        content[places] = random.integers(0, 256, 10)
        try:
            assert Bands(6).decode(content.tobytes(), "x").shape[2] == 6
        except SmallvitError as error:
            named.append(str(error))
    assert named
    assert all(text.startswith("x: ") for text in named)


def test_the_limit_of_pixels_holds_before_decoding(monkeypatch):
    monkeypatch.setattr("smallvit.datasets.io.stored_arrays.max_pixels", lambda: 500)
    with pytest.raises(ImageError, match=rf"\(20, 30, 6\).*{limits.VARIABLE}=900"):
        read_array(npy(IMAGE), "x.npy")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ((0,), "channels=0"),
        ((True,), "channels=True"),
        ((6, (6,)), "bands 0 to 5"),
        ((6, (-1,)), "band -1"),
        ((6, (1, 1)), "distinct bands"),
        ((6, ()), "one or more"),
        ((6, None, "middle"), "band_axis='middle'"),
        ((1000,), "OpenCV, which resizes"),
    ],
)
def test_settings_out_of_range(settings, text):
    with pytest.raises(UserError, match=text):
        Bands(*settings)
    if settings == (1000,):
        assert Bands(1000, (999,)).count == 1


def test_bands_can_be_displayed(tmp_path):
    found = visible(np.stack([np.tile(np.linspace(0, 1e-3, 50), (9, 1))] * 4, -1))
    assert (found.shape, found.dtype) == ((9, 50, 3), np.uint8)
    assert (found[:, 0].max(), found[:, -1].min()) == (0, 255)
    np.save(tmp_path / "x.npy", IMAGE.transpose(2, 0, 1))
    shown = read_image(str(tmp_path / "x.npy"))
    assert (shown == visible(IMAGE)).all()
    # The first band is shown as red.
    assert (visible(IMAGE * np.array([1, 0, 0, 0, 0, 0]))[..., :2] == 0).all()
