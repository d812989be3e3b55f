"""What a folder of somebody's own data holds: its layout, classes, splits and images."""

from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.readings import LAYOUTS, recognize
from smallvit.datasets.recognition.splitting import Fold

__all__ = ["LAYOUTS", "Fold", "OwnData", "recognize"]
