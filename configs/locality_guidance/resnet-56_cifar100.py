# The teacher of locality guidance.
_base_ = [
    "../_base_/datasets/cifar100_32_randaug.py",
    "../_base_/schedules/cifar_sgd_300e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.CifarResNet", depth=56),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=100, in_channels=64),
)
