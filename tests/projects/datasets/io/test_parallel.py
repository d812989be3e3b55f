from types import SimpleNamespace

import cv2
import pytest

from smallvit.datasets.io import parallel


@pytest.mark.parametrize("release", ["4", "5"])
def test_workers_silence_either_opencv(release, monkeypatch):
    levels = []
    place = SimpleNamespace(setLogLevel=levels.append)
    if release == "4":
        monkeypatch.delattr(cv2.utils, "logging", raising=False)
        monkeypatch.setattr(cv2, "setLogLevel", levels.append, raising=False)
    else:
        monkeypatch.setattr(cv2.utils, "logging", place, raising=False)
    parallel._silence_opencv()
    assert levels == [0]
