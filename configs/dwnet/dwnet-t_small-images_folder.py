_base_ = [
    "../_base_/models/dwnet_classifier.py",
    "../_base_/datasets/folder_32.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# No Mixup and CutMix, which require more epochs than small datasets are trained for.
model = dict(backbone=dict(img_size=32, patch_size=2, pad_to_kernel=False), train_cfg=None)
