_base_ = "../dwnet/dwnet-mini_digits-det.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        embed_dims=32,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 4, 8],
        window_size=7,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.05,
    ),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
