"""Explanations of the libraries' errors about missing data."""

import pytest
import torch
from mmengine.config import Config

from data_builders import map_dataset, write_maps
from smallvit.explain import explain


def test_datasets_without_samples(tmp_path):
    write_maps(tmp_path)
    with pytest.raises(ValueError, match="need at least one array") as caught:
        map_dataset(tmp_path, img_suffix=".jpg")
    message = explain(caught.value, Config())
    assert message.startswith("BaseSegDataset has no sample: data_prefix=")
    assert "img_suffix='.jpg'" in message


def test_a_batch_of_one_value():
    norm = torch.nn.BatchNorm2d(3).train()
    with pytest.raises(ValueError, match="Expected more than 1 value") as caught:
        norm(torch.ones(1, 3, 1, 1))
    message = explain(caught.value, Config(dict(train_dataloader=dict(batch_size=16))))
    assert "train_dataloader.batch_size=16 the last batch has one" in message
    assert "drop_last=True" in message
