"""Prediction of many images into a folder: file names, resuming, damaged images, result tables."""

import csv
import http.server
import json
import threading

import cv2
import numpy as np
import pytest

from smallvit.cli.main import main


def write(path, value=100, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*size, 3), value, np.uint8)
    image[8:20, 8:20] = 255 - value
    cv2.imwrite(str(path), image)


def predict(*args):
    return main(["predict", *map(str, args), "--device", "cpu"])


def table(out):
    with open(out / "predictions.csv") as file:
        return list(csv.DictReader(file))


def test_folders_file_names_and_resuming(checkpoints, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    for number, name in enumerate(["a/1.png", "b/1.png", "b/1.jpg", "b/.hidden.png"]):
        write(source / name, 40 * number)
    (source / "b/bad.jpg").write_bytes(b"no image")
    (source / "b/notes.txt").write_text("left out")
    assert predict(checkpoints["classification"], source, "--out", out) == 1
    captured = capsys.readouterr()
    assert "bad.jpg: not an image" in captured.err
    assert "3 images predicted" in captured.out
    rows = table(out)
    assert [row["image"] for row in rows] == ["a/1.png", "b/1.jpg", "b/1.png"]
    assert all(0 < float(row["score"]) <= 1 for row in rows)
    drawn = sorted(path.relative_to(out / "drawn") for path in (out / "drawn").rglob("*.png"))
    assert list(map(str, drawn)) == ["a/1.png", "b/1.png", "b/1.png.png"]
    # In the format of test.py.
    from smallvit.engine.predictions import read_predictions

    assert len(read_predictions(out / "predictions.json")) == 3

    # Repaired, modified and new images are predicted; a truncated line is predicted again.
    write(source / "b/bad.jpg", 10)
    write(source / "a/1.png", 200)
    with open(out / "journal.jsonl", "a") as file:
        file.write('{"name": "c')
    assert predict(checkpoints["classification"], source, "--out", out) == 0
    assert "2 images predicted, 2 already done" in capsys.readouterr().out
    assert len(table(out)) == 4
    (out / "drawn/b/1.png").unlink()
    assert predict(checkpoints["classification"], source, "--out", out) == 0
    assert "1 images predicted, 3 already done" in capsys.readouterr().out

    # Results from different settings are not mixed.
    assert predict(checkpoints["classification"], source, "--out", out, "--no-draw") == 1
    assert "with a different draws" in capsys.readouterr().err
    assert predict(checkpoints["classification"], source, "--out", source) == 1
    assert "contains other files" in capsys.readouterr().err


def test_existing_files_in_the_output_folder(checkpoints, tmp_path, capsys):
    """Existing files affect neither the output path nor the exit status."""
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "x.png")
    assert predict(checkpoints["segmentation"], source, "--out", out, "--no-draw") == 0
    journal = out / "journal.jsonl"
    record = json.loads(journal.read_text())
    for changes in (
        {"stem": "../../escaped", "stamp": [0, 0]},
        {"stem": "/escaped", "files": ["gone"]},
        {"stem": 3, "files": ["gone"]},
    ):
        journal.write_text(json.dumps({**record, **changes}) + "\n")
        assert predict(checkpoints["segmentation"], source, "--out", out, "--no-draw") == 0
        assert not list(tmp_path.parent.glob("escaped*"))
    for text in ("[]", "{}", "[" * 100_000, '{"name": 3}', json.dumps({**record, "rows": [3]})):
        journal.write_text(f"{text}\n")
        assert predict(checkpoints["segmentation"], source, "--out", out, "--no-draw") == 1
        assert "is damaged. Remove the folder" in capsys.readouterr().err
    (out / "settings.json").write_text("{")
    assert predict(checkpoints["segmentation"], source, "--out", out) == 1
    assert "settings.json is damaged" in capsys.readouterr().err


def test_objects_as_coco(checkpoints, tmp_path):
    from pycocotools.coco import COCO

    write(tmp_path / "in/x.png", size=(96, 96))
    out = tmp_path / "out"
    args = (checkpoints["detection"], tmp_path / "in/x.png", "--out", out, "--score-thr", "0")
    assert predict(*args) == 0
    truth = COCO(str(out / "images.json"))
    found = truth.loadRes(str(out / "predictions.json"))
    assert len(found.anns) == len(table(out)) > 0
    assert found.annToMask(found.anns[1]).shape == (96, 96)
    assert (out / "drawn/x.png").is_file()


def test_label_maps_as_pictures(checkpoints, tmp_path):
    write(tmp_path / "in/x.png", size=(64, 80))
    out = tmp_path / "out"
    pattern = str(tmp_path / "in/*.png")
    assert predict(checkpoints["segmentation"], pattern, "--out", out, "--tile", "64") == 0
    labels = cv2.imread(str(out / "masks/x.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (64, 80)
    stored = json.loads((out / "predictions.json").read_text())
    assert stored["images"][0]["mask"] == "masks/x.png"
    assert sum(stored["images"][0]["shares"].values()) == pytest.approx(1)


def test_videos(checkpoints, tmp_path, capsys):
    path = str(tmp_path / "v.avi")
    video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 32))
    if not video.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for number in range(7):
        video.write(np.full((32, 32, 3), 30 * number, np.uint8))
    video.release()
    out = tmp_path / "out"
    args = (checkpoints["cascade"], path, "--out", out, "--every", "2", "--exit", "1")
    assert predict(*args) == 0
    rows = table(out)
    assert [row["image"] for row in rows] == [f"v.avi/{n:06d}.png" for n in (0, 2, 4, 6)]
    assert {row["exit"] for row in rows} == {"1"}
    assert predict(*args) == 0
    assert "0 images predicted, 4 already done" in capsys.readouterr().out


def test_addresses(checkpoints, tmp_path, capsys):
    write(tmp_path / "web/x.png")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "web"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        urls = (f"{address}/x.png?size=1", f"{address}/missing.png")
        assert predict(checkpoints["classification"], *urls, "--out", tmp_path / "out") == 1
        server.shutdown()
    assert "404" in capsys.readouterr().err
    assert [row["image"] for row in table(tmp_path / "out")] == ["x.png"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["missing"], "no such file or folder"),
        (["*.nothing"], "has no image"),
        (["missing.mp4"], "no such video"),
        (["x.png", "--every", "2"], "there is none"),
        (["x.png", "--exit", "1"], "requires a model with exits"),
        (["x.png", "--tile", "8"], "not for classifiers"),
    ],
)
def test_mistakes(checkpoints, tmp_path, monkeypatch, capsys, args, said):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.png")
    assert predict(checkpoints["classification"], *args, "--out", tmp_path / "out") == 1
    assert said in capsys.readouterr().err


def test_scores_of_classifiers_are_complete(checkpoints, tmp_path, capsys):
    write(tmp_path / "x.png")
    args = (checkpoints["classification"], tmp_path / "x.png", "--out", tmp_path / "out")
    assert predict(*args, "--score-thr", "0.5") == 1
    assert "--score-thr requires" in capsys.readouterr().err


def test_flags_that_exclude_each_other(capsys):
    for flags in (
        ["--overlap", "0.1"],
        ["--exit", "1", "--max-gflops", "1"],
        ["--policy", "margin"],
        ["--score-thr", "30"],
    ):
        with pytest.raises(SystemExit):
            main(["predict", "x.pth", "x.png", "--out", "out", *flags])
