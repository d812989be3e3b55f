_base_ = "../dwnet/dwnet-mini_digits-det.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.CvT",
        arch=dict(
            embed_dims=(32, 64, 128),
            depths=(1, 1, 2),
            num_heads=(1, 2, 4),
            mlp_ratios=(4, 4, 4),
            kernel_sizes=(7, 3, 3),
            strides=(4, 2, 2),
            paddings=(2, 1, 1),
        ),
        out_type="featmap",
        out_indices=(0, 1, 2),
        out_norm=True,
        drop_path_rate=0.05,
    ),
    neck=dict(in_channels=[32, 64, 128]),
)
