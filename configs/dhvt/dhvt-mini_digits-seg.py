_base_ = "../dwnet/dwnet-mini_digits-seg.py"

norm_cfg = dict(type="BN", requires_grad=True)

# Single-scale tokens at stride 8, as in vit-mini: resized to strides 4 to 32.
model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DHVT",
        arch=dict(embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=256),
        patch_size=8,
        out_indices=(0, 1, 2, 3),
        out_type="featmap",
        drop_path_rate=0.05,
    ),
    neck=dict(type="Feature2Pyramid", embed_dim=64, rescales=[2, 1, 0.5, 0.25], norm_cfg=norm_cfg),
    decode_head=dict(in_channels=[64] * 4),
    auxiliary_head=dict(in_channels=64),
)
