# The reference network of the bench at up to 64x64, and the teacher of locality guidance.
_base_ = "./vit-mini_digits.py"

model = dict(
    backbone=dict(_delete_=True, type="smallvit.CifarResNet", depth=20),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(in_channels=64),
)
