"""Generate a training config from a model name and a data folder."""

from smallvit.apis.training.plan import Plan, Wishes, make_plan
from smallvit.apis.training.writing import write_config

__all__ = ["Plan", "Wishes", "make_plan", "write_config"]
