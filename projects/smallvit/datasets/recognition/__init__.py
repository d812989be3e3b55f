"""Automatic recognition of the layout, classes and splits of a custom dataset."""

from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.readings import LAYOUTS, recognize
from smallvit.datasets.recognition.splitting import Fold

__all__ = ["LAYOUTS", "Fold", "OwnData", "recognize"]
