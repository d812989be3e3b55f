"""Data loader: batches do not depend on the number of workers, and can resume at any iteration."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader

from smallvit.engine.guarded_loader import EndlessBatches, GuardedLoader
from smallvit.engine.random_states import get_states, seed_all, set_states


class Noise:
    """Dataset whose samples draw from each random generator."""

    name = "noise"

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()])


def loader(workers=0, sampler=DefaultSampler, seed=(0, 0)):
    made = GuardedLoader(
        DataLoader(Noise(), batch_size=4, num_workers=workers, sampler=sampler(Noise(), seed=3))
    )
    made.batch_sampler.seed = seed
    return made


def test_batches_do_not_depend_on_workers():
    alone, helped = list(loader(0)), list(loader(2))
    assert len(alone) == len(helped) == 3
    assert all(torch.equal(one, two) for one, two in zip(alone, helped, strict=True))


def test_epochs_processes_and_seeds_differ():
    first = torch.cat(list(loader()))
    second = loader()
    second.batch_sampler.epoch = 1
    others = [second, loader(seed=(0, 1)), loader(seed=(1, 0))]
    for other in others:
        found = torch.cat(list(other))
        assert torch.equal(found[:, 0], first[:, 0])
        assert not torch.isclose(found[:, 1:], first[:, 1:]).any()


def test_the_global_generators_are_left_alone():
    seed_all((7,))
    wanted = random.random(), np.random.rand(), torch.rand(2).tolist()
    seed_all((7,))
    list(loader())
    assert (random.random(), np.random.rand(), torch.rand(2).tolist()) == wanted


def test_states_survive_a_checkpoint(tmp_path):
    random.gauss(0, 1)  # leaves a cached second number for the next call
    np.random.randn()
    torch.save(get_states(), tmp_path / "states.pth")
    wanted = random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist()
    set_states(torch.load(tmp_path / "states.pth", weights_only=True))
    assert (random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist()) == wanted


@pytest.mark.parametrize("sampler", [DefaultSampler, InfiniteSampler])
@pytest.mark.parametrize("done", [0, 2, 3, 7])
def test_infinite_batches_resume_anywhere(sampler, done):
    whole = EndlessBatches(loader(sampler=sampler))
    wanted = [next(whole) for _ in range(done + 4)][done:]
    resumed = EndlessBatches(loader(sampler=sampler))
    resumed.skip(done)
    assert [next(resumed) for _ in range(done)] == [None] * done
    assert all(torch.equal(next(resumed), batch) for batch in wanted)


def test_infinite_samplers_can_be_restarted():
    fresh, used = loader(sampler=InfiniteSampler), loader(sampler=InfiniteSampler)
    stream = iter(used.batch_sampler.batch_sampler)
    next(stream)
    used.batch_sampler.restart()
    assert torch.equal(next(iter(fresh)), next(iter(used)))


def test_attributes_of_loader_and_dataset_are_available():
    made = loader()
    assert len(made) == 3
    assert made.batch_size == 4
    assert made.batch_sampler.sampler.seed == 3
    assert made.dataset.name == "noise"
    made.dataset.name = "changed"
    assert made.dataset._inner.name == "changed"


def test_other_errors_are_raised():
    made = loader()
    made.replace_bad_samples(lambda bad: None)
    made.dataset.__dict__["_inner"] = SimpleNamespace()
    with pytest.raises(TypeError):
        next(iter(made))
