"""What a folder of somebody's own data holds: its layout, classes, splits and images."""

from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.readings import LAYOUTS, recognize

__all__ = ["LAYOUTS", "OwnData", "recognize"]
