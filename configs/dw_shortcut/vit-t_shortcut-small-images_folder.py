_base_ = [
    "../_base_/models/vit_classifier.py",
    "../_base_/datasets/folder_32.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# No Mixup and CutMix, which require more epochs than small datasets are trained for.
model = dict(
    backbone=dict(
        type="smallvit.DWConvShortcut", host="VisionTransformer", img_size=32, patch_size=4
    ),
    train_cfg=None,
)
