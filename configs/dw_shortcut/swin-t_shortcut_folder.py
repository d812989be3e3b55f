_base_ = [
    "mmpretrain::_base_/models/swin_transformer/tiny_224.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# Without Mixup and CutMix, which ask for more epochs than so few images get.
model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"), train_cfg=None)
