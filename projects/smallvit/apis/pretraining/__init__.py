"""Generate self-supervised pretraining configs from a backbone and unlabeled images."""

from smallvit.apis.pretraining.images import Images, find_images
from smallvit.apis.pretraining.methods import METHODS
from smallvit.apis.pretraining.plan import PretrainingPlan, plan_pretraining
from smallvit.apis.pretraining.writing import write_pretraining

__all__ = [
    "METHODS",
    "Images",
    "PretrainingPlan",
    "find_images",
    "plan_pretraining",
    "write_pretraining",
]
