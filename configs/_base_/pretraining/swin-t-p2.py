# MMPretrain's Swin-T for 32x32 images, with patches of 2x2 pixels and windows of 4x4 patches.
network = dict(
    type="SwinTransformer",
    arch="tiny",
    img_size=32,
    patch_size=2,
    window_size=4,
    pad_small_map=True,
    drop_path_rate=0.2,
)
