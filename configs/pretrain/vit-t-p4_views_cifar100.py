_base_ = "../_base_/pretraining/views_32.py"

model = dict(
    backbone=dict(
        type="VisionTransformer",
        arch="deit-tiny",
        img_size=32,
        patch_size=4,
        qkv_bias=False,
        norm_cfg=dict(type="LN", eps=1e-5),
    ),
)
