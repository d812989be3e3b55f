"""Backbones, one file per architecture."""

from smallvit.backbones.base import PlainViT
from smallvit.backbones.cait import CaiT
from smallvit.backbones.cifar_resnet import CifarResNet
from smallvit.backbones.cvt import CvT
from smallvit.backbones.dhvt import DHVT
from smallvit.backbones.dwnet import DWNet
from smallvit.backbones.pvt import PVT
from smallvit.backbones.t2t_vit import T2TViT
from smallvit.backbones.timm_backbone import TimmBackbone

__all__ = [
    "DHVT",
    "PVT",
    "CaiT",
    "CifarResNet",
    "CvT",
    "DWNet",
    "PlainViT",
    "T2TViT",
    "TimmBackbone",
]
