_base_ = "./dhvt-t-p4_cifar10.py"

model = dict(backbone=dict(arch="small", num_heads=8), head=dict(in_channels=384))

# 2 GPUs with 128 images each
train_dataloader = dict(batch_size=128)

param_scheduler = [
    dict(type="LinearLR", start_factor=2e-3, by_epoch=True, begin=0, end=5),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=5, end=300),
]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=256)
