"""Nearest neighbors of features: search, classification and 2D maps."""

import numpy as np
import pytest

from smallvit.analysis import neighbors as near
from smallvit.errors import UserError


def clusters(each=6, dims=5):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), each)
    return np.eye(dims)[labels] + rng.normal(0, 0.05, (3 * each, dims)), labels


def test_neighbors_are_those_of_a_search_by_hand(monkeypatch):
    features = np.random.default_rng(1).normal(size=(30, 4)) * 100
    monkeypatch.setattr(near, "CHUNK", 7)
    found = near.nearest(features, 3)
    scaled = features / np.linalg.norm(features, axis=1, keepdims=True)
    for number, each in enumerate(found.indices):
        others = sorted(set(range(30)) - {number}, key=lambda i: -(scaled[number] @ scaled[i]))
        assert each.tolist() == others[:3]
    among = near.nearest(features[:4], 1, features)
    assert among.indices[:, 0].tolist() == [0, 1, 2, 3]
    assert among.similarities == pytest.approx(1, abs=1e-5)
    assert among.twins == 4
    assert found.twins == 0
    with pytest.raises(UserError, match=r"got 2\. Set --neighbors 2 or less, or add"):
        near.nearest(features[:3], 3)
    with pytest.raises(UserError, match=r"got 0\. Add images"):
        near.nearest(features[:1], 3)


def test_the_class_of_most_neighbors_is_taken():
    features, labels = clusters()
    assert near.vote(near.nearest(features, 5), labels).tolist() == labels.tolist()
    found = near.Neighbors(np.array([[0, 1, 2], [0, 1, 3]]), np.array([[0.9, 0.8, 0.1]] * 2))
    # Two against one; then one each, where the nearest wins.
    assert near.vote(found, np.array([0, 1, 1, 2])).tolist() == [1, 0]


def test_a_map_keeps_clusters_together_and_is_the_same_again():
    features, labels = clusters()
    perplexity = near.fitting_perplexity(len(features), None)
    assert perplexity == pytest.approx(17 / 3)
    points = near.embed(features, perplexity, 3)
    assert np.array_equal(points, near.embed(features, perplexity, 3))
    distances = np.linalg.norm(points[:, None] - points, axis=2) + np.diag([np.inf] * 18)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    assert near.embed(np.ones((5, 3)), 1.0, 0).shape == (5, 2)
    for images, asked, text in ((3, None, "at least four"), (9, 9.0, r"images \(9\), got 9")):
        with pytest.raises(UserError, match=text):
            near.fitting_perplexity(images, asked)


def test_a_map_has_a_legend_and_rings():
    features, labels = clusters()
    wrong = np.arange(18) == 4
    drawn = near.draw_map(features[:, :2], labels, ["a", "b", "c"], "title", wrong)
    texts = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert texts == ["a (6)", "b (6)", "c (6)", "wrong by kNN (1)"]
    plain = near.draw_map(features[:, :2], None, (), "title")
    assert not plain.legends
    many = near.draw_map(features[:, :2], labels, [str(i) for i in range(30)], "title")
    assert not many.legends


def test_wrong_images_are_shown_first():
    right = np.array([True] * 8 + [False] * 2)
    chosen = near.choose_queries(right, 10, 6, 0)
    assert set(chosen[:2]) == {8, 9}
    assert len(set(chosen)) == 6
    assert len(near.choose_queries(right, 10, 20, 0)) == 10
    assert len(near.choose_queries(~right, 10, 4, 0)) == 4
    assert near.choose_queries(None, 5, 2, 0) == near.choose_queries(None, 5, 2, 0)
