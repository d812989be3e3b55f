_base_ = "./dvt-t2t-12_cifar10.py"

network = dict(
    type="smallvit.T2TViT", arch="14", norm_cfg=dict(type="LN", eps=1e-5), drop_path_rate=0.1
)
model = dict(
    backbone=dict(
        exits=[dict(token_grid=grid, **network) for grid in (7, 10, 14)],
        init_cfg=dict(checkpoint="work_dirs/dvt-t2t-14_in1k/epoch_310.pth"),
    ),
    head=dict(in_channels=384),
)
