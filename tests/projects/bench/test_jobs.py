"""Jobs of a bench."""

import json
from pathlib import Path

from smallvit.bench.jobs import Jobs
from smallvit.bench.settings import BenchSettings, Run


def test_a_pretraining_whose_weights_were_deleted_is_repeated(tmp_path):
    run = Run("vit+masked", None, 0, 30, 1, pretraining=5)
    settings = BenchSettings("digits", 32, 16, False, "iters", 60)
    jobs = Jobs(str(tmp_path), settings, 10, 0, [run])
    folder = Path(run.pretraining_folder(str(tmp_path)))
    folder.mkdir(parents=True)
    found = dict(method="masked", note="", images=9, iters=5, seconds=1.0, features={})
    (folder / "pretraining.json").write_text(json.dumps(found))
    (folder / "backbone.pth").touch()
    assert [job.function for job in jobs.training(run)] == ["train"]
    (folder / "backbone.pth").unlink()
    assert [job.function for job in jobs.training(run)] == ["pretrain", "train"]


def test_features_that_were_deleted_are_stored_again(tmp_path):
    run, teacher = (Run(name, None, 0, 30, 1) for name in ("vit+guidance-offline", "teacher"))
    settings = BenchSettings("digits", 32, 16, False, "iters", 30)
    jobs = Jobs(str(tmp_path), settings, 10, 0, [run, teacher])
    folder = Path(teacher.folder(str(tmp_path)))
    (folder / "features").mkdir(parents=True)
    (folder / "stored.json").write_text('{"seconds": 1.0}')
    assert [job.function for job in jobs.training(run)] == ["train"]
    (folder / "features").rmdir()
    assert [job.function for job in jobs.training(run)] == ["store", "train"]
