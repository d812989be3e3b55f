"""Invalid label maps: errors name a loader that reads them; valid maps load as in mmseg."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from data_builders import SIZE, map_dataset, usage_of, write_maps
from smallvit.datasets.label_map_checks import look_at_maps
from smallvit.datasets.label_maps import LoadLabelMap
from smallvit.datasets.parts import transform_of
from smallvit.errors import DataError


def values(scale, offset=0, dtype=np.uint8):
    def save(labels, path):
        Image.fromarray(labels.astype(dtype) * scale + offset).save(path)

    return save


def in_colors(*colors, mode="RGB"):
    def save(labels, path):
        Image.fromarray(np.array(colors, np.uint8)[labels]).convert(mode).save(path)

    return save


def palette(labels, path):
    image = Image.fromarray(labels)
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.save(path)


def one_bit(labels, path):
    Image.fromarray(labels.astype(bool)).save(path)


def maps(dataset):
    return np.stack(
        [dataset[index]["data_samples"].gt_sem_seg.data[0].numpy() for index in range(len(dataset))]
    )


@pytest.fixture
def right(tmp_path):
    write_maps(tmp_path / "right")
    return maps(map_dataset(tmp_path / "right"))


def test_valid_maps_load_as_in_mmseg(tmp_path, right):
    write_maps(tmp_path)
    dataset = map_dataset(tmp_path)
    usage = usage_of(dataset)
    assert usage.faults == usage.warnings == []
    assert usage.counts == {"background": 4, "blob": 4}
    assert "2 classes in label maps: background 4 (rare), blob 4 (rare)" in list(usage.lines())
    stock = LoadAnnotations()
    for index, labels in enumerate(maps(dataset)):
        info = dataset.get_data_info(index)
        stock._load_seg_map(info)
        assert (info["gt_seg_map"] == labels).all()


@pytest.mark.parametrize("save", [palette, one_bit, values(1, dtype=np.uint16)])
def test_other_ways_to_save_labels(save, tmp_path, right):
    write_maps(tmp_path, save)
    dataset = map_dataset(tmp_path)
    assert usage_of(dataset).faults == []
    assert (maps(dataset) == right).all()


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("of_classes", [None, {0: 1, 1: 255, 2: 0, 3: 255}])
def test_the_settings_of_a_data_set_count_as_in_mmseg(reduce, of_classes, tmp_path):
    labels = np.random.default_rng(0).choice([0, 1, 2, 3, 255], (9, 7)).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "map.png")

    def sample():
        return dict(
            seg_map_path=str(tmp_path / "map.png"),
            reduce_zero_label=reduce,
            label_map=of_classes,
            seg_fields=[],
        )

    ours, theirs = LoadLabelMap().transform(sample()), LoadAnnotations().transform(sample())
    assert (ours["gt_seg_map"] == theirs["gt_seg_map"]).all()
    assert ours["gt_seg_map"].dtype == np.uint8
    assert ours["seg_fields"] == ["gt_seg_map"]
    assert LoadLabelMap().transform(dict(img=1)) == dict(img=1)  # not used in inference


WRONG = {
    "values 0 and 2": (values(2), "values 2 are outside of 0 to 1", "label_map={0: 0, 2: 1}"),
    "0 and 128": (values(128), "values 128 are outside of 0 to 1", "label_map={0: 0, 128: 1}"),
    "from 1": (values(1, 1), "values 2 are outside of 0 to 1", "label_map={1: 0, 2: 1}"),
    "16 bits": (values(300, dtype=np.uint16), "values 300 are outside of", "{0: 0, 300: 1}"),
    "16 bits, 256": (values(256, dtype=np.uint16), "values 256 are outside of", "{0: 0, 256: 1}"),
    "gray in RGB": (
        in_colors((0, 0, 0), (1, 1, 1)),
        "got 3 channels (RGB)",
        "{0: CLASS, 1: CLASS}",
    ),
    "RGB": (in_colors((0, 0, 0), (9, 8, 7)), "got 3 channels (RGB)", "(9, 8, 7): CLASS}"),
    "RGBA": (
        in_colors((0, 0, 0), (9, 8, 7), mode="RGBA"),
        "got 4 channels (RGBA)",
        "(9, 8, 7): CLASS}",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_labels_are_named(name, tmp_path):
    save, what, way_out = WRONG[name]
    write_maps(tmp_path, save)
    dataset = map_dataset(tmp_path)
    (fault,) = usage_of(dataset).faults
    assert str(tmp_path / "masks/0.png") in str(fault)
    assert what in str(fault)
    assert "smallvit.LoadLabelMap" in str(fault)
    assert way_out in str(fault)
    with pytest.raises(DataError, match=r"masks/2\.png"):
        dataset[2]


@pytest.mark.parametrize(
    ("save", "label_map"),
    [
        (values(2), {0: 0, 2: 1}),
        (values(255), {255: 1}),
        (values(1, 1), {1: 0, 2: 1}),
        (values(300, dtype=np.uint16), {0: 0, 300: 1}),
        (in_colors((0, 0, 0), (1, 1, 1)), {1: 1}),
        (in_colors((0, 0, 0), (9, 8, 7)), {(0, 0, 0): 0, (9, 8, 7): 1}),
        (in_colors((5, 0, 0), (0, 0, 5), mode="RGBA"), {(5, 0, 0): 0, (0, 0, 5): 1}),
    ],
)
def test_the_suggested_loader_reads_the_labels(save, label_map, tmp_path, right):
    write_maps(tmp_path, save)
    dataset = map_dataset(tmp_path, loader=dict(type="smallvit.LoadLabelMap", label_map=label_map))
    usage = usage_of(dataset)
    assert usage.faults == usage.warnings == []
    assert (maps(dataset) == right).all()


def test_black_and_white_maps(tmp_path):
    write_maps(tmp_path, values(255))
    dataset = map_dataset(tmp_path)
    (fault,) = usage_of(dataset).faults
    assert "blob never occurs" in str(fault)
    assert "label_map={255: 1}" in str(fault)
    assert usage_of(dataset, "val").faults == []


def test_a_class_that_never_occurs_and_an_ignored_border(tmp_path):
    def bordered(labels, path):
        labels[:2] = 255
        Image.fromarray(labels).save(path)

    write_maps(tmp_path, bordered)
    usage = usage_of(map_dataset(tmp_path, classes=("background", "blob", "star")))
    assert usage.faults == []
    assert usage.counts == {"background": 4, "blob": 4, "star": 0}


def test_colors_must_all_be_named(tmp_path):
    write_maps(tmp_path, in_colors((0, 0, 0), (9, 8, 7)))
    loader = dict(type="smallvit.LoadLabelMap", label_map={(9, 8, 7): 1})
    (fault,) = usage_of(map_dataset(tmp_path, loader=loader)).faults
    assert "has colors that are not in label_map: (0, 0, 0)" in str(fault)
    with pytest.raises(ValueError, match="in label_map, got 256"):
        LoadLabelMap(label_map={1: 256})


def test_a_test_pipeline_resizes_the_image_before_the_label_map_is_loaded(tmp_path):
    write_maps(tmp_path, images=1)
    steps = [
        dict(type="mmseg.LoadImageFromFile"),
        dict(type="mmseg.Resize", scale=(40, 40), keep_ratio=True),
        dict(type="mmseg.LoadAnnotations"),
        dict(type="mmseg.PackSegInputs"),
    ]
    sample = map_dataset(tmp_path, pipeline=steps)[0]
    assert sample["inputs"].shape == (3, 32, 40)
    assert sample["data_samples"].gt_sem_seg.data.shape == (1, SIZE, SIZE + 16)


def test_sizes(tmp_path):
    def small(labels, path):
        Image.fromarray(labels[:20, :30]).save(path)

    write_maps(tmp_path, small)
    dataset = map_dataset(tmp_path)
    (fault,) = usage_of(dataset).faults
    assert f"is 30x20 pixels, but {SIZE + 16}x{SIZE} in" in str(fault)
    with pytest.raises(DataError, match="is 30x20 pixels"):
        dataset[1]


def test_an_image_that_exif_turns(tmp_path):
    write_maps(tmp_path)
    for path in (tmp_path / "images").iterdir():
        image = Image.open(path)
        exif = image.getexif()
        exif[274] = 6
        image.save(path, exif=exif)
    dataset = map_dataset(tmp_path)
    (fault,) = usage_of(dataset).faults
    assert "rotated by its EXIF orientation" in str(fault)
    assert "color_ignore_orientation" in str(fault)
    dataset.pipeline.transforms[0].color_type = "color_ignore_orientation"
    assert usage_of(dataset).faults == []
    assert dataset[0]["inputs"].shape == (3, SIZE, SIZE + 16)


def test_rotated_maps(tmp_path):
    write_maps(tmp_path, lambda labels, path: Image.fromarray(labels.T.copy()).save(path))
    (fault,) = usage_of(map_dataset(tmp_path)).faults
    assert "One is rotated by 90 degrees" in str(fault)


def test_a_data_set_without_a_folder_of_maps(tmp_path):
    write_maps(tmp_path)
    (fault,) = usage_of(map_dataset(tmp_path, data_prefix=dict(img_path="images"))).faults
    assert "Set data_prefix=dict(img_path=..., seg_map_path=...)" in str(fault)


def test_maps_without_any_class(tmp_path):
    write_maps(tmp_path, lambda labels, path: Image.fromarray(labels * 0 + 255).save(path))
    (fault,) = usage_of(map_dataset(tmp_path)).faults
    assert "4 sampled label maps contain no class" in str(fault)


def test_files_that_have_no_partner(tmp_path):
    write_maps(tmp_path)
    (tmp_path / "masks/1.png").unlink()
    (tmp_path / "images/more.jpg").write_bytes((tmp_path / "images/0.png").read_bytes())
    usage = usage_of(map_dataset(tmp_path))
    assert usage.faults == []
    assert any("1 of 4 label maps are missing, e.g." in text for text in usage.warnings)
    assert any("skipped files: 1 .jpg" in text for text in usage.warnings)
    (fault,) = usage_of(map_dataset(tmp_path, seg_map_suffix="_mask.png")).faults
    assert "4 of 4 label maps are missing" in str(fault)


def test_other_ignore_indices_of_losses(tmp_path):
    write_maps(tmp_path, values(2))
    dataset = map_dataset(tmp_path, ignore_index=2)
    assert look_at_maps(dataset).faults == []
    assert (maps(dataset) % 2 == 0).all()


def test_workers_share_the_values_they_found(tmp_path):
    write_maps(tmp_path)
    loader = transform_of(map_dataset(tmp_path), LoadLabelMap)
    assert loader.seen.is_shared()
    assert not loader.seen.any()
    again = pickle.loads(pickle.dumps(LoadLabelMap(label_map={255: 1})))
    assert again.label_map == {255: 1}
    dataset = map_dataset(tmp_path)
    batches = torch.utils.data.DataLoader(dataset, num_workers=1, collate_fn=len, batch_size=2)
    assert sum(batches) == 4
    seen = transform_of(dataset, LoadLabelMap).seen
    assert seen.nonzero().flatten().tolist() == [0, 1]


def test_a_map_that_cannot_be_read(tmp_path):
    from smallvit.errors import ImageError

    write_maps(tmp_path)
    (tmp_path / "masks/0.png").write_text("no image")
    dataset = map_dataset(tmp_path)
    with pytest.raises(ImageError, match=r"masks/0\.png"):
        dataset[0]
    assert cv2.imread(str(tmp_path / "masks/1.png")) is not None
    # Header of a 49 kB PNG that would take 400 MB when decoded.
    content = (tmp_path / "masks/1.png").read_bytes()
    large = content[:16] + (20000).to_bytes(4, "big") * 2 + content[24:]
    (tmp_path / "masks/0.png").write_bytes(large)
    with pytest.raises(ImageError, match=r"masks/0\.png: 20000x20000 pixels in a file of"):
        dataset[0]
