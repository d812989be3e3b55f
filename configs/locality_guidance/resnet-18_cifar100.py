# The paper's CNN baseline, with the same enlarged images as the transformers.
_base_ = [
    "../_base_/datasets/cifar100_224_randaug.py",
    "../_base_/schedules/cifar_sgd_300e.py",
    "../_base_/default_runtime.py",
]

model = dict(
    type="ImageClassifier",
    backbone=dict(type="ResNet", depth=18, zero_init_residual=False),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=100, in_channels=512),
)
