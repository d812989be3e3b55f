_base_ = "./dvt-t2t-12_in1k.py"

model = dict(
    backbone=dict(exits=[dict(exit, arch="14") for exit in _base_.model.backbone.exits]),
    head=dict(in_channels=384),
)

# 8 GPUs with 64 images each
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.05))
auto_scale_lr = dict(base_batch_size=512)
