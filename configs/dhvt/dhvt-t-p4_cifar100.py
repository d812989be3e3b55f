_base_ = [
    "../_base_/models/dhvt_classifier.py",
    "../_base_/datasets/cifar100_deit_32.py",
    "../_base_/schedules/dhvt_adamw_300e.py",
    "../_base_/default_runtime_cudnn.py",
]

# 2 GPUs with 256 images each
model = dict(backbone=dict(patch_size=4, num_heads=4), head=dict(num_classes=100))
