_base_ = "./dhvt-t-p4_cifar100.py"

model = dict(backbone=dict(arch="small", num_heads=8), head=dict(in_channels=384))

# 2 GPUs with 128 images each
train_dataloader = dict(batch_size=128)

optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=256)
