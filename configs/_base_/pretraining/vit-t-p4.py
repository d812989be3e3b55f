# MMPretrain's DeiT-Ti for 32x32 images, with patches of 4x4 pixels.
network = dict(
    type="VisionTransformer",
    arch="deit-tiny",
    img_size=32,
    patch_size=4,
    qkv_bias=False,
    norm_cfg=dict(type="LN", eps=1e-5),
)
