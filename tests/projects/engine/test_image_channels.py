"""Errors for normalization statistics that do not match the image channels."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor, SelfSupDataPreprocessor
from mmseg.models import SegDataPreProcessor

from smallvit.engine.image_channels import channel_fault

KINDS = (ClsDataPreprocessor, SelfSupDataPreprocessor, DetDataPreprocessor, SegDataPreProcessor)


class Images(list):
    """A dataset with one image."""

    def __init__(self, *shape, views=False):
        image = torch.zeros(shape)
        super().__init__([dict(inputs=[image, image] if views else image)])

    def get_data_info(self, index):
        return dict(img_path=f"{index}.png")


def fault(kind, means, images, **settings):
    preprocessor = kind(mean=[9.0] * means, std=[1.0] * means, **settings)
    return channel_fault(SimpleNamespace(data_preprocessor=preprocessor), images)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("views", [False, True])
def test_the_number_of_means_must_match_the_channels(kind, views):
    assert fault(kind, 3, Images(3, 8, 8, views=views)) is None
    gray = fault(kind, 3, Images(1, 8, 8, views=views))
    assert "mean has 3 values, but the pipeline returns images with 1 channel" in gray
    assert "(0.png). Set 1 of mean and std, and in_channels=1 of the backbone" in gray
    assert "color_type='color' in LoadImageFromFile" in gray
    four = fault(kind, 3, Images(4, 8, 8, views=views))
    assert "images with 4 channels" in four
    assert "smallvit.ToColor" in four


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_mean_is_for_every_channel(kind, channels):
    assert fault(kind, 1, Images(channels, 8, 8)) is None


@pytest.mark.parametrize("kind", [SelfSupDataPreprocessor, DetDataPreprocessor])
@pytest.mark.parametrize("channels", [1, 4])
def test_channel_conversion_needs_three_channels(kind, channels):
    """MMEngine's preprocessor fails on a gray image, and drops one of four channels."""
    text = fault(kind, 1, Images(channels, 8, 8), bgr_to_rgb=True)
    assert "bgr_to_rgb (or rgb_to_bgr) requires three channels" in text
    assert fault(kind, 1, Images(3, 8, 8), bgr_to_rgb=True) is None


def test_non_images_are_ignored():
    assert fault(ClsDataPreprocessor, 3, Images(5)) is None
    assert fault(ClsDataPreprocessor, 3, []) is None
    assert channel_fault(SimpleNamespace(), Images(1, 8, 8)) is None
