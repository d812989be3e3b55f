_base_ = [
    "../_base_/models/dhvt_classifier.py",
    "../_base_/datasets/folder_32.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# Without Mixup and CutMix, which ask for more epochs than so few images get.
model = dict(backbone=dict(patch_size=4, num_heads=4), train_cfg=None)
