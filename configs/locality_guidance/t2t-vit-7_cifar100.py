_base_ = [
    "../_base_/models/t2t-vit-7_classifier.py",
    "../_base_/datasets/cifar100_224_randaug.py",
    "../_base_/schedules/cifar_adamw_300e.py",
    "../_base_/default_runtime.py",
]
