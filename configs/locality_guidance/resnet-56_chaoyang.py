# The teacher of locality guidance.
_base_ = [
    "../_base_/models/resnet-56_classifier.py",
    "../_base_/datasets/chaoyang_32_randaug.py",
    "../_base_/schedules/cifar_sgd_300e.py",
    "../_base_/default_runtime.py",
]

model = dict(head=dict(num_classes=4))
