_base_ = [
    "../_base_/models/dwnet_classifier.py",
    "../_base_/datasets/folder_32.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# Without Mixup and CutMix, which ask for more epochs than so few images get.
model = dict(backbone=dict(img_size=32, patch_size=2, pad_to_kernel=False), train_cfg=None)
