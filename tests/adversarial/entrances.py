"""All entry points for untrusted files, as functions."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from mmengine.config import Config

from adversarial.data_entrances import DATA_ENTRANCES
from adversarial.workshop import Entrance, Workshop, run


def train(shop: Workshop, work: Path, *argv: object) -> None:
    run("train.py", shop.toy, "--work-dir", work, "--no-validate", *argv)


def automatic(shop: Workshop, path: Path, work: Path) -> None:
    (work / "epoch_1.pth").symlink_to(path)
    train(shop, work, "--resume")


def pointed(shop: Workshop, path: Path, work: Path) -> None:
    (work / "last_checkpoint").write_text(str(path))
    train(shop, work, "--resume")


def load_from(shop: Workshop, path: Path, work: Path) -> None:
    config = work / "started.py"
    config.write_text(f"_base_ = {str(shop.toy)!r}\nload_from = {str(path)!r}\n")
    run("train.py", config, "--work-dir", work, "--no-validate")


def pretrained(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.engine.install import install

    install(None)
    from mmengine.model import BaseModule
    from torch import nn

    class Net(BaseModule):
        def __init__(self) -> None:
            super().__init__(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
            self.layer = nn.Linear(2, 1)

    Net().init_weights()


def mmengine_loads(shop: Workshop, path: Path, work: Path) -> None:
    from mmengine.runner import load_checkpoint
    from torch import nn

    from smallvit.engine.install import install

    install(None)
    net = nn.Module()
    net.layer = nn.Linear(2, 1)
    load_checkpoint(net, str(path), "cpu")


def by_itself(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.apis import load_trained

    load_trained(path, shop.cascade)


def official_name(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.engine.checkpoint import official, reading

    with mock.patch.object(official, "_folder", return_value=str(work / "converted")):
        reading.read_checkpoint(f"dwnet::{path}")


def published(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.apis import publish

    work.mkdir(parents=True, exist_ok=True)
    publish(path, work / "published.pth")


def api(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.apis import load_model

    load_model(shop.cascade, path)


def folder_of_images(shop: Workshop, path: Path, work: Path) -> None:
    """A config that takes its classes from the checkpoint."""
    from smallvit.engine.folder import fit_to_folder

    for name in ("a", "b"):
        (work / name).mkdir()
        (work / name / "1.png").touch()
    dataset = dict(type="ClassFolders", data_root=str(work))
    head = dict(num_classes=2)
    cfg = dict(fit_to_folder={}, data_root=str(work), model=dict(head=head))
    fit_to_folder(Config(dict(cfg, train_dataloader=dict(dataset=dataset))), str(path))


def teacher(shop: Workshop, path: Path, work: Path) -> None:
    from smallvit.plugins.locality_guidance.teacher import Teacher

    cfg = Config.fromfile(shop.teacher)
    Teacher(model=cfg.model.to_dict(), checkpoint=str(path), stages=(0, 1, 2), size=32).load()


def official(shop: Workshop, path: Path, work: Path) -> None:
    run("multi_exit/official.py", path, work / "converted.pth")


def calibrate(shop: Workshop, path: Path, work: Path) -> None:
    run("multi_exit/calibrate.py", shop.cascade, path, "--out", work / "calibrated.pth")


def plot(shop: Workshop, path: Path, work: Path) -> None:
    run("multi_exit/plot.py", path, "--out", work / "plot.png")


def plot_images(shop: Workshop, path: Path, work: Path) -> None:
    images = ("--images", shop.cascade, "--max-gflops", 3e6, "--per-class", 1)
    run("multi_exit/plot.py", path, "--out", work / "plot.png", *images)


def throughput(shop: Workshop, path: Path, work: Path) -> None:
    few = ("--rounds", 1, "--points", 1, "--num-images", 4, "--batch-size", 2)
    run("multi_exit/benchmark.py", shop.cascade, path, *few)


def precompute(shop: Workshop, path: Path, work: Path) -> None:
    few = ("--batch-size", 10, "--num-workers", 0)
    run("locality_guidance/precompute.py", shop.teacher, path, "--out", work / "store", *few)


def convert(shop: Workshop, path: Path, work: Path) -> None:
    run("model_converters/convert.py", "dwnet", path, work / "converted.pth")


def convert_training(shop: Workshop, path: Path, work: Path) -> None:
    out = work / "converted.pth"
    run("model_converters/convert.py", "dwnet", path, out, "--training-state")


def revert(shop: Workshop, path: Path, work: Path) -> None:
    run("model_converters/convert.py", "dwnet", path, work / "converted.pth", "--reverse")


def whose(shop: Workshop, path: Path, work: Path) -> None:
    """A run reads the run id in files of its folder before removing them."""
    from smallvit.engine.checkpoint.run_files import id_in

    id_in(str(path))


#: By name. Each function either raises one of our errors or succeeds.
ENTRANCES = {
    "test.py FILE": Entrance(
        "trained", lambda shop, path, work: run("test.py", shop.toy, path, "--work-dir", work)
    ),
    "train.py --resume FILE": Entrance(
        "trained", lambda shop, path, work: train(shop, work, "--resume", path)
    ),
    "train.py --resume": Entrance("trained", automatic),
    "last_checkpoint": Entrance("trained", pointed),
    "load_from": Entrance("trained", load_from),
    "init_cfg Pretrained": Entrance("trained", pretrained),
    "MMEngine's load_checkpoint": Entrance("trained", mmengine_loads),
    "load_model": Entrance("calibrated", api),
    "load_trained": Entrance("calibrated", by_itself),
    "SYSTEM::FILE": Entrance("official_dwnet", official_name),
    "publish": Entrance("trained", published),
    "fit_to_folder": Entrance("trained", folder_of_images),
    "guidance.teacher.checkpoint": Entrance("taught", teacher),
    "precompute.py": Entrance("taught", precompute),
    "calibrate.py": Entrance("calibrated", calibrate),
    "plot.py": Entrance("calibrated", plot),
    "multi_exit/benchmark.py": Entrance("calibrated", throughput),
    "official.py": Entrance("official", official),
    "convert.py": Entrance("official_dwnet", convert),
    "convert.py --training-state": Entrance("official_dwnet", convert_training),
    "convert.py --reverse": Entrance("dwnet", revert),
    "plot.py --images": Entrance("calibrated", plot_images),
    "removing old files": Entrance("trained", whose, reads=False),
    **DATA_ENTRANCES,
}
