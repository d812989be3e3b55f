"""Backbones, one file an architecture."""

from smallvit.backbones.cifar_resnet import CifarResNet
from smallvit.backbones.cvt import CvT
from smallvit.backbones.dhvt import DHVT
from smallvit.backbones.dwnet import DWNet
from smallvit.backbones.plain_vit import PlainViT
from smallvit.backbones.pvt import PVT

__all__ = [
    "DHVT",
    "PVT",
    "CifarResNet",
    "CvT",
    "DWNet",
    "PlainViT",
]
