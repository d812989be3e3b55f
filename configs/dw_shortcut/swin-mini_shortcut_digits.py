_base_ = "../dwnet/dwnet-mini_digits.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DWConvShortcut",
        host="SwinTransformer",
        arch=dict(embed_dims=32, depths=[2, 2, 2], num_heads=[1, 2, 4]),
        img_size=32,
        patch_size=2,
        window_size=4,
        out_indices=(2,),
        drop_path_rate=0.05,
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(in_channels=128),
)
