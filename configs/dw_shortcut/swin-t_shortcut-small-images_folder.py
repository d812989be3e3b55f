_base_ = [
    "mmpretrain::_base_/models/swin_transformer/tiny_224.py",
    "../_base_/datasets/folder_32.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# No Mixup and CutMix, which require more epochs than small datasets are trained for.
model = dict(
    backbone=dict(
        type="smallvit.DWConvShortcut",
        host="SwinTransformer",
        img_size=32,
        patch_size=2,
        window_size=4,
        pad_small_map=True,
    ),
    train_cfg=None,
)
