_base_ = "./dhvt-t_clipart.py"

model = dict(backbone=dict(arch="small", num_heads=6), head=dict(in_channels=384))

# 2 GPUs with 64 images each
train_dataloader = dict(batch_size=64)

optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
auto_scale_lr = dict(base_batch_size=128)
