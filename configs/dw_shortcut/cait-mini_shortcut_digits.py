_base_ = "../dwnet/dwnet-mini_digits.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="smallvit.DWConvShortcut",
        host="smallvit.CaiT",
        arch=dict(
            embed_dims=64,
            num_layers=4,
            num_cls_layers=2,
            num_heads=4,
            feedforward_channels=256,
        ),
        img_size=32,
        patch_size=4,
        drop_path_rate=0.05,
    ),
    head=dict(in_channels=64),
)
