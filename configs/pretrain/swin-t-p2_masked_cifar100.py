_base_ = "../_base_/pretraining/masked-pixels_32.py"

model = dict(
    backbone=dict(
        backbone=dict(
            type="SwinTransformer",
            arch="tiny",
            img_size=32,
            patch_size=2,
            window_size=4,
            pad_small_map=True,
            drop_path_rate=0.2,
        )
    ),
    neck=dict(in_channels=768, encoder_stride=16),
)
