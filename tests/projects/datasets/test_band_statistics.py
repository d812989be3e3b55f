"""Mean and standard deviation of bands, computed in one pass over the training images."""

import numpy as np
import pytest

from smallvit.datasets.band_statistics import measure_bands
from smallvit.datasets.io.bands import Bands
from smallvit.datasets.recognition import recognize
from smallvit.datasets.recognition.survey import look_at_bands
from smallvit.errors import DataError


@pytest.fixture
def arrays(tmp_path):
    """Images of different sizes whose bands have different value ranges, and their files."""
    random = np.random.default_rng(0)
    scale = np.array([1e-3, 1.0, 1e3, 1.0, 7.0])
    found = {}
    for number in range(6):
        values = random.normal(1000 * number, 1.0, (8 + number, 10, 5)) * scale
        path = str(tmp_path / f"{number}.npy")
        np.save(path, values.astype(np.float32))
        found[path] = values.astype(np.float32)
    return found


def test_statistics_are_those_of_all_pixels(arrays):
    found = measure_bands(list(arrays), Bands(5))
    pixels = np.concatenate([one.reshape(-1, 5) for one in arrays.values()]).astype(np.float64)
    assert found.mean == pytest.approx(pixels.mean(0), rel=1e-5)
    assert found.std == pytest.approx(pixels.std(0), rel=1e-5)
    assert (found.images, found.damaged, found.short, found.axis) == (6, 0, 10, "last")
    chosen = measure_bands(list(arrays), Bands(5, (4, 1)))
    assert chosen.mean == (found.mean[4], found.mean[1])


def test_statistics_do_not_depend_on_the_number_of_processes(arrays, monkeypatch):
    alone = measure_bands(list(arrays), Bands(5))
    monkeypatch.setattr("smallvit.datasets.band_statistics.FEW", 1)
    assert measure_bands(list(arrays), Bands(5)) == alone


def test_damaged_files_are_counted_and_wrong_ones_named(arrays, tmp_path):
    (tmp_path / "bad.npy").write_bytes(b"no array")
    paths = [*arrays, str(tmp_path / "bad.npy"), str(tmp_path / "gone.npy")]
    assert "and 2 that cannot be read" in look_at_bands(paths, Bands(5)).note
    with pytest.raises(DataError, match=r"no image can be read\n.*bad.npy"):
        measure_bands(paths[-2:], Bands(5))
    for name in ("wrong", "wrong too"):
        np.save(tmp_path / f"{name}.npy", np.zeros((8, 8, 4), np.uint8))
    wrong = [str(tmp_path / f"{name}.npy") for name in ("wrong", "wrong too")]
    with pytest.raises(DataError, match=r"wrong.npy: .*\n.*wrong too.npy: .*--channels 4"):
        measure_bands([*paths, *wrong], Bands(5))


def test_constant_bands_are_rejected(tmp_path):
    np.save(tmp_path / "x.npy", np.stack([np.eye(8), np.full((8, 8), 3.0)], -1))
    with pytest.raises(DataError, match="band 1 is 3 everywhere in all"):
        measure_bands([str(tmp_path / "x.npy")], Bands(2))
    assert measure_bands([str(tmp_path / "x.npy")], Bands(2, (0,))).mean == (1 / 8,)


def test_values_beyond_float32_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(64.0).reshape(8, 8, 1) * 1e7)
    with pytest.raises(DataError, match="does not represent exactly"):
        measure_bands([str(tmp_path / "x.npy")], Bands(1))


def test_held_out_images_are_not_measured(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            array = np.random.default_rng(number).random((8, 9, 6))
            np.save(tmp_path / "data" / name / f"{number}.npy", array)
    data = recognize(str(tmp_path / "data"), str(tmp_path / "out"), bands=Bands(6))
    held_out = (tmp_path / "out/split/val.txt").read_text().split()
    trained = data.training_images()
    assert len(held_out) == 2
    assert len(trained) == 8
    assert not any(path.endswith(tuple(held_out)) for path in trained)
    lines = [f"{name}/{number}.npy,{name}" for name in "ab" for number in range(5)]
    (tmp_path / "data/labels.csv").write_text("\n".join(["file,label", *lines]))
    table = recognize(str(tmp_path / "data/labels.csv"), str(tmp_path / "t"), bands=Bands(6))
    assert len(table.training_images()) == 8
