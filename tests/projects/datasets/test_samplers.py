"""Class-balanced sampler."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallvit.datasets import samplers
from smallvit.datasets.samplers import ClassBalancedSampler
from smallvit.errors import DataError


class Labels:
    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        return dict(gt_label=self.labels[index])


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_classes_are_balanced(counts, seed):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    sampler = ClassBalancedSampler(Labels(labels), seed=seed)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == len(labels)
    seen = Counter(labels[index] for index in drawn)
    assert max(seen.values()) - min(seen[label] for label in range(len(counts))) <= 1
    # Images of a class only repeat after all others have been drawn.
    for label in range(len(counts)):
        times = Counter(index for index in drawn if labels[index] == label)
        every = [times[index] for index, one in enumerate(labels) if one == label]
        assert max(every) - min(every) <= 1


def test_epochs_differ_and_repeat():
    sampler = ClassBalancedSampler(Labels([0] * 20 + [1] * 5), seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_processes_share_an_epoch(monkeypatch):
    labels = [0] * 9 + [1] * 2
    whole = list(ClassBalancedSampler(Labels(labels), seed=3))
    parts = []
    for rank in range(2):
        monkeypatch.setattr(samplers, "get_dist_info", lambda rank=rank: (rank, 2))
        parts.append(list(ClassBalancedSampler(Labels(labels), seed=3)))
    assert len(parts[0]) == len(parts[1]) == 6
    joined = [index for pair in zip(*parts, strict=True) for index in pair]
    assert joined[: len(whole)] == whole


@pytest.mark.parametrize("labels", [[None], [[0, 1]]])
def test_images_without_one_label_are_refused(labels):
    with pytest.raises(DataError, match=r"requires one label per image.*DefaultSampler"):
        ClassBalancedSampler(Labels(labels))
