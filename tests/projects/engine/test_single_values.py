"""Last batches of one sample, rejected if a batch norm would see one value per channel."""

import pytest
from mmengine.registry import MODELS
from torch import nn

from smallvit.errors import DataError
from tiny_runs import TinyModel, tiny_runner


@MODELS.register_module(name="TestNormModel", force=True)
class NormModel(TinyModel):
    """A batch norm after pooling, or on a map."""

    def __init__(self, maps: bool = False, **settings) -> None:
        super().__init__(**settings)
        self.norm = nn.BatchNorm1d(1 if maps else 4)

    def forward(self, inputs, labels, mode="tensor"):
        features = inputs.float()
        if self.norm.num_features == 1:
            features = features[:, None]
        return super().forward(self.norm(features).flatten(1), labels, mode)


def run(tmp_path, samples=9, **settings):
    model = dict(type="TestNormModel", maps=settings.pop("maps", False))
    runner = tiny_runner(tmp_path, epochs=1, samples=samples, model=model, **settings)
    runner.train()
    return runner


def test_the_error_comes_before_the_first_step(tmp_path):
    with pytest.raises(DataError) as caught:
        run(tmp_path)
    assert "after pooling (norm)" in str(caught.value)
    assert "train_dataloader.batch_size=4 the last batch of 9 images has one" in str(caught.value)
    assert "train_dataloader.drop_last=True" in str(caught.value)


def test_batches_of_one(tmp_path):
    with pytest.raises(DataError, match=r"batch_size=1 the last batch"):
        run(tmp_path, batch=1)


@pytest.mark.parametrize("settings", [dict(samples=8), dict(samples=10), dict(maps=True)])
def test_other_batches_are_trained(settings, tmp_path):
    runner = run(tmp_path, **settings)
    assert runner.iter == -(-settings.get("samples", 9) // 4)
    assert runner.model.norm.num_batches_tracked == runner.iter
