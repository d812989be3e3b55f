"""From a model's name and a data folder to a config that trains the one on the other."""

from smallvit.apis.training.plan import Plan, Wishes, make_plan
from smallvit.apis.training.writing import write_config

__all__ = ["Plan", "Wishes", "make_plan", "write_config"]
