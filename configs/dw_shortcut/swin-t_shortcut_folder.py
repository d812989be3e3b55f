_base_ = [
    "mmpretrain::_base_/models/swin_transformer/tiny_224.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# No Mixup and CutMix, which require more epochs than small datasets are trained for.
model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"), train_cfg=None)
