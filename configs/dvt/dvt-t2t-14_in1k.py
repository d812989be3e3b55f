_base_ = "./dvt-t2t-12_in1k.py"

network = dict(
    type="smallvit.T2TViT",
    arch="14",
    norm_cfg=dict(type="LN", eps=1e-5),
    token_drop_rate=0.1,
    drop_path_rate=0.1,
)
model = dict(
    backbone=dict(exits=[dict(token_grid=grid, **network) for grid in (7, 10, 14)]),
    head=dict(in_channels=384),
)

# 8 GPUs with 64 images each
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.05))
auto_scale_lr = dict(base_batch_size=512)
