"""Entry points for data files: feature stores, bench folders, predictions, and files in configs."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from adversarial.workshop import Document, Entrance, Workshop, run
from tool_helpers import ROOT, write_pictures

KEYS = np.arange(4, dtype="<u8")
HEADER = Document(
    version=3,
    data_set={"type": "Digits", "length": 4, "num_classes": 10, "fingerprint": "f"},
    teacher={"sha256": "0" * 64, "backbone": {"type": "x"}, "input_size": 32, "stages": [0]},
    shapes=[[1, 2, 2]],
    dtype="float32",
    config="teacher.py",
    mirrored=False,
)
RUN = {"method": "vit", "samples": None, "seed": 0, "iters": 30, "evals": 1}
DATA = {
    **{"classes": ["a", "b"], "image_size": 32, "same_images": False, "fingerprints": {}},
    **{"counts": {split: [5, 5] for split in ("train", "val", "test")}},
    **{"images": dict.fromkeys(("train", "val", "test"), 10)},
    **{"tested_on": "test", "selected_on": "val"},
}
RESULT = dict(accuracy=1.0, val_accuracy=1.0, train_seconds=1.0, iters=30, params=1)
SPEED = {"setup": 1.0, "step": 0.1, "val": 0.1, "test": 0.1}
COST = {"params": 1, "flops": 1, "images_per_second": 1.0}


class Documents:
    """Valid contents for the entry points, as attributes; the workshop resolves them here too."""

    store_header = HEADER
    store_progress = Document(finished=5)
    predictions = Document(
        format="smallvit.predictions",
        version=1,
        task="classification",
        classes=["a", "b"],
        samples=[{"gt_label": 0, "pred_label": [1], "pred_score": [0.1, 0.9]}],
    )
    plan = Document(
        settings=dict(
            data="digits", image_size=32, batch_size=16, flip=False, budget="iters", amount=30
        ),
        data=DATA,
        runs=[RUN],
        command=["a"],
        speeds={},
    )
    result = Document(RESULT)
    failure = Document(reason="x", log="log.txt")
    stored = Document(seconds=1.0)
    costs = Document(note="x", methods={"vit": COST})
    tested = Document(
        labels=[0, 1], predicted=[1, 1], confidence=[0.9, 0.8], images=["a.png", "b.png"]
    )
    curve = Document({"10": 50.0, "20": 60.0})
    trial = Document(accuracy=50.0, iters=20, seconds=1.0)
    speeds = Document(settings={}, speeds={"vit": SPEED})
    record = Document(id="0" * 16, packages={"torch": "2"}, git={}, status="finished")
    scalars = Document(step=1, iter=1, loss=0.5)
    lmdb_meta = Document(
        format="smallvit-images", version=1, images=1, classes=["a"], skipped=0, list="x"
    )
    metafile = Document(
        Models=[
            dict(
                Name="a",
                Config="configs/a/a.py",
                Metadata={"Parameters": 1, "Differences": {"Parameters": "small", "FLOPs": "x"}},
            )
        ]
    )

    @property
    def image(self) -> bytes:
        """An image."""
        return cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes()

    @property
    def label_maps(self) -> bytes:
        """Predictions of a segmentor."""
        import io

        header = dict(self.predictions, task="segmentation", samples=[{"img_path": None}])
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez_compressed(buffer, header=text, map_0=np.zeros((8, 8), np.uint8))
        return buffer.getvalue()

    @property
    def features(self) -> bytes:
        """Feature maps of a store."""
        return _npy(np.zeros((5, 1, 2, 2), "float32"))

    @property
    def keys(self) -> bytes:
        """Keys of a store."""
        return _npy(KEYS)

    @property
    def checksums(self) -> bytes:
        """Checksums of a store."""
        import zlib

        return _npy(np.full((5, 1), zlib.crc32(bytes(16)), "<u4"))


def _npy(array: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


DOCUMENTS = Documents()


def store(name: str) -> Callable[[Workshop, Path, Path], None]:
    """Return a function that trains on a feature store with the given file."""

    def enter(shop: Workshop, path: Path, work: Path) -> None:
        from torch import nn

        from smallvit.plugins.locality_guidance.offline import StoredFeatures

        _write_store(work / "store")
        shutil.copy(path, work / "store" / name)
        features = StoredFeatures(str(work / "store"), nn.Identity())
        features.check(None)
        for index in range(len(KEYS)):
            features.store.read(index, int(KEYS[index]))

    return enter


def unfinished_store(name: str) -> Callable[[Workshop, Path, Path], None]:
    """Return a function that resumes writing a feature store with the given file."""

    def enter(shop: Workshop, path: Path, work: Path) -> None:
        from smallvit.plugins.locality_guidance.store_header import StoreHeader
        from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter

        _write_store(work / "store.partial")
        shutil.copy(path, work / "store.partial" / name)
        with FeatureStoreWriter(work / "store", StoreHeader(**HEADER), KEYS) as writer:
            for _ in range(writer.finished, 5):
                writer.append([np.zeros((1, 1, 2, 2), "float32")])
            writer.close()

    return enter


def _write_store(folder: Path) -> None:
    folder.mkdir()
    contents = {
        **{"header.json": json.dumps(HEADER).encode(), "progress.json": b'{"finished": 5}'},
        **{"stage_0.npy": DOCUMENTS.features, "keys.npy": DOCUMENTS.keys},
        "checksums.npy": DOCUMENTS.checksums,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def _write_lmdb(folder: Path, **pairs: bytes) -> None:
    import lmdb

    with lmdb.open(str(folder), map_size=1 << 30) as handle, handle.begin(write=True) as writing:
        for key, value in pairs.items():
            writing.put(key.encode(), value)
    (folder / "lock.mdb").unlink()


def _read_image(folder: Path, work: Path) -> None:
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import DATASETS

    from smallvit.engine.install import install

    install("mmpretrain")
    (work / "list.txt").write_text("image 0\n")
    loading = dict(type="LoadImageFromFile", backend_args=dict(backend="lmdb", db_path=str(folder)))
    settings = dict(type="CustomDataset", ann_file=str(work / "list.txt"), pipeline=[loading])
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        DATASETS.build(settings)[0]


def image_in_lmdb(shop: Workshop, path: Path, work: Path) -> None:
    _write_lmdb(work / "images.lmdb", image=path.read_bytes())
    _read_image(work / "images.lmdb", work)


def lmdb_itself(shop: Workshop, path: Path, work: Path) -> None:
    if path.read_bytes() == DOCUMENTS.image:  # the valid content
        return image_in_lmdb(shop, path, work)
    (work / "images.lmdb").mkdir()
    shutil.copy(path, work / "images.lmdb" / "data.mdb")
    return _read_image(work / "images.lmdb", work)


@cache
def _pictures(folder: Path) -> Path:
    write_pictures(folder / "pictures")
    return folder / "pictures" / "test"


def lmdb_there(shop: Workshop, path: Path, work: Path) -> None:
    """An existing store at the output path of the converter."""
    from smallvit.datasets.lmdb_writer import read_meta

    _write_lmdb(work / "images.lmdb", __meta__=path.read_bytes())
    if read_meta(str(work / "images.lmdb")) is None or path.read_bytes() != _dumped("lmdb_meta"):
        run("dataset_converters/folder2lmdb.py", _pictures(shop.folder), work / "images.lmdb")


def lmdb_going_on(shop: Workshop, path: Path, work: Path) -> None:
    """An unfinished store that the converter resumes."""
    meta = path.read_bytes()
    if meta == _dumped("lmdb_meta"):
        meta = meta[:-1] + f', "source": "{_pictures(shop.folder)}"}}'.encode()
    _write_lmdb(work / "images.lmdb.partial", __meta__=meta)
    options = ("--workers", 0)
    run("dataset_converters/folder2lmdb.py", _pictures(shop.folder), work / "images.lmdb", *options)


def _dumped(name: str) -> bytes:
    return json.dumps(getattr(DOCUMENTS, name)).encode()


def draw(shop: Workshop, path: Path, work: Path) -> None:
    """Draw predictions."""
    _draw(ROOT / "configs" / "dwnet" / "dwnet-mini_digits.py", path, work)


SEGMENTS = """
default_scope = "mmseg"
test_dataloader = dict(
    dataset=dict(
        type="BaseSegDataset",
        data_root=r"{work}",
        data_prefix=dict(img_path="images", seg_map_path="maps"),
        metainfo=dict(classes=("a", "b"), palette=[[0, 0, 0], [9, 9, 9]]),
        img_suffix=".png",
        pipeline=[],
    )
)
"""


def draw_maps(shop: Workshop, path: Path, work: Path) -> None:
    """Draw predictions of a segmentor."""
    for folder in ("images", "maps"):
        (work / folder).mkdir()
        cv2.imwrite(str(work / folder / "a.png"), np.zeros((8, 8), np.uint8))
    (work / "segments.py").write_text(SEGMENTS.format(work=work))
    _draw(work / "segments.py", path, work)


def _draw(config: Path, path: Path, work: Path) -> None:
    few = ("--num", 1, "--size", 32)
    run("analysis_tools/draw_predictions.py", config, path, "--out", work / "drawn.png", *few)


def _touch(*args: object, **_: object) -> None:
    Path(args[-1]).touch()


class _Pool:
    """Returns fixed results without training."""

    def run(self, jobs: list, watcher: object) -> dict:
        from smallvit.bench.scheduler import Outcome

        known = {"look": DATA, "measure": {"note": "", "methods": {"vit": COST}}}
        known["trial"] = SPEED
        return {job.name: Outcome(known.get(job.function)) for job in jobs}


def _begun(out: Path, pool: object, **changes: object) -> Any:
    """Create a bench with one method whose jobs are run by a pool."""
    from smallvit.bench.methods import parse_method
    from smallvit.bench.run import Bench

    asked = dict(
        **dict(data="digits", out=str(out), methods=["vit"], seeds=1, iters=30, epochs=None),
        **dict(samples_per_class=["all"], budget_minutes=None, image_size=32, batch_size=16),
        **dict(no_flip=True, jobs=1, threads=1, workers=0, schedule="cosine"),
        **dict(params=None, flops=None, as_published=True, no_lr_search=True),
        **dict(unlabeled=None, pretraining_share=0.5, val_per_class=None, void_id=None),
    )
    bench = Bench(argparse.Namespace(**asked | changes), str(out), [parse_method("vit")])
    bench.pool = pool
    return bench


def going_on(out: Path, pool: object, seeds: int = 1, plots: bool = True) -> None:
    """Start or resume a bench with one method, and write its report."""
    from smallvit.bench import outputs

    running = _begun(out, pool, seeds=seeds)
    running.plan()
    running.train()
    running.measure()
    drawn = ("plot_samples", "plot_cost", "plot_curves", "plot_together")
    faked = ("save_figure",) if plots else drawn
    with mock.patch.multiple(outputs.plots, **dict.fromkeys(faked, _touch)):
        outputs.write_outputs(str(out))


def speeds(shop: Workshop, path: Path, work: Path) -> None:
    """Speeds measured by an earlier call with another budget."""
    shutil.copy(path, work / "speeds.json")
    _begun(work, _Pool(), iters=None, budget_minutes=60.0).plan()


def curve(shop: Workshop, path: Path, work: Path) -> None:
    """Validation results of a run that is resumed."""
    from types import SimpleNamespace

    from smallvit.bench.hooks import Progress

    shutil.copy(path, work / "curve.json")
    progress = Progress(lambda _: None, 30, str(work / "curve.json"))
    hub = SimpleNamespace(runtime_info={})
    progress.before_train(SimpleNamespace(iter=20, message_hub=hub))


def trial(shop: Workshop, path: Path, work: Path) -> None:
    """A finished trial of a learning rate."""
    from smallvit.bench.jobs import Jobs
    from smallvit.bench.plan import Run
    from smallvit.bench.search import _known, _name

    run = Run("vit", None, 0, 20, 1)
    jobs = Jobs(str(work), None, 2, 0, [])
    folder = Path(jobs.trial_folder(run, _name(run)))
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "trial.json")
    _known(run, jobs)


def bench(*place: str) -> Callable[[Workshop, Path, Path], None]:
    """Return a function that resumes a bench with the given file and writes its report."""

    def enter(shop: Workshop, path: Path, work: Path) -> None:
        from smallvit.bench.plan import Run

        of_run = Path(Run(**RUN).folder(str(work)))
        for folder, name, content in (
            (work, "plan.json", DOCUMENTS.plan),
            (of_run, "result.json", RESULT),
            (of_run, "run.json", DOCUMENTS.record),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(content))
        target = (of_run if place[0] == "run" else work).joinpath(*place[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        going_on(work, _Pool())

    return enter


def sizes(shop: Workshop, path: Path, work: Path) -> None:
    """Metafile of a folder of configs."""
    from tool_helpers import load_tool

    folder = work / "configs" / "a"
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "metafile.yml")
    (folder / "a.py").write_text(f"_base_ = {str(shop.teacher)!r}\n")
    load_tool("analysis_tools/published_sizes.py").main([], root=work)


def _naming(shop: Workshop, path: Path, work: Path) -> Path:
    config = work / "naming.py"
    config.write_text(
        f"_base_ = {str(shop.teacher)!r}\nload_from = {str(path)!r}\n"
        f'model = dict(init_cfg=dict(type="Pretrained", checkpoint={str(path)!r}))\n'
    )
    return config


def flops(shop: Workshop, path: Path, work: Path) -> None:
    """Count FLOPs of a config that names the weights."""
    run("analysis_tools/get_flops.py", _naming(shop, path, work), "--shape", 32)


def timing(shop: Workshop, path: Path, work: Path) -> None:
    """Time a config that names the weights."""
    few = ("--repeats", 1, "--seconds", 0.001, "--shape", 32, 32, "--mode", "both")
    run("analysis_tools/benchmark.py", _naming(shop, path, work), *few)


HEADER_PLACES = (
    *("version", "data_set", "data_set.length", "data_set.num_classes", "teacher"),
    *("teacher.sha256", "teacher.backbone", "shapes", "dtype", "config", "mirrored", "more"),
)
PREDICTION_PLACES = ("format", "version", "task", "classes", "samples", "more")
PLAN_PLACES = (
    *("settings", "settings.data", "settings.image_size", "settings.flip", "settings.budget"),
    *("settings.amount", "settings.more", "data", "data.classes", "data.counts", "data.image_size"),
    *("data.counts.train", "data.counts.x", "data.same_images", "data.tested_on"),
    *("data.fingerprints", "runs", "command", "speeds", "speeds.vit", "speeds.vit.x", "more"),
)
RECORD_PLACES = (
    *("id", "packages", "packages.torch", "git", "git.smallvit", "git.smallvit.commit", "status"),
    *("config", "sessions"),
)
META_PLACES = (*Documents.lmdb_meta, "source")
_STORE, _BENCH = "feature store, ", "bench going on, "

#: By name, like :data:`adversarial.entrances.ENTRANCES`.
DATA_ENTRANCES = {
    _STORE + "header": Entrance("store_header", store("header.json"), "store", HEADER_PLACES),
    _STORE + "progress": Entrance("store_progress", store("progress.json"), "store", ("finished",)),
    **{
        _STORE + name: Entrance(name, store(file), file, ())
        for name, file in (
            ("features", "stage_0.npy"),
            ("keys", "keys.npy"),
            ("checksums", "checksums.npy"),
        )
    },
    "precompute.py going on, header": Entrance(
        "store_header", unfinished_store("header.json"), "store.partial", HEADER_PLACES
    ),
    "precompute.py going on, progress": Entrance(  # restarts from the beginning
        "store_progress",
        unfinished_store("progress.json"),
        places=("finished",),
        reads=False,
    ),
    "LMDB store, image": Entrance("image", image_in_lmdb, "image: ", ()),
    "LMDB store": Entrance("image", lmdb_itself, "images.lmdb", ()),
    "folder2lmdb.py, store there": Entrance("lmdb_meta", lmdb_there, "images.lmdb", META_PLACES),
    "folder2lmdb.py going on": Entrance(
        "lmdb_meta", lmdb_going_on, "images.lmdb.partial", META_PLACES
    ),
    "draw_predictions.py": Entrance("predictions", draw, places=PREDICTION_PLACES),
    "draw_predictions.py, label maps": Entrance("label_maps", draw_maps, places=()),
    _BENCH + "plan": Entrance("plan", bench("", "plan.json"), "plan.json", PLAN_PLACES),
    **{
        _BENCH + name: Entrance(name, bench(*place), place[-1], places, stops=False)
        for name, place, places in (
            ("result", ("run", "result.json"), tuple(RESULT)),
            ("tested", ("run", "predictions.json"), tuple(Documents.tested)),
            ("record", ("run", "run.json"), RECORD_PLACES),
            ("costs", ("", "cost.json"), ("note", "methods", "methods.vit", "methods.vit.flops")),
        )
    },
    **{
        _BENCH + name: Entrance(name, door, f"{name}.json", places, stops=False)
        for name, door, places in (
            ("curve", curve, ("10", "x")),
            ("trial", trial, tuple(Documents.trial)),
            ("speeds", speeds, ("settings", "speeds", "speeds.vit", "speeds.vit.step")),
        )
    },
    _BENCH + "scalars": Entrance(  # lines truncated by a kill are skipped silently
        "scalars",
        bench("run", "vis_data", "scalars.json"),
        places=("step", "iter", "loss", "x"),
        reads=False,
    ),
    "published_sizes.py": Entrance(
        "metafile",
        sizes,
        "metafile.yml",
        ("Models", "Models.Name", "Metadata", "more"),
    ),
    "get_flops.py": Entrance("taught", flops, places=(), reads=False),
    "benchmark.py": Entrance("taught", timing, places=(), reads=False),
}
