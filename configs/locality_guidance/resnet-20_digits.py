# The teacher of the guided digits configs; a minute on a CPU.
_base_ = "../dwnet/dwnet-mini_digits.py"

model = dict(
    backbone=dict(_delete_=True, type="smallvit.CifarResNet", depth=20),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(in_channels=64),
)
