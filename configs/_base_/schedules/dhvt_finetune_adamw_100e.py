# 100 epochs from ImageNet weights, warm-up over 2, cosine; a total batch of 256 at a learning
# rate of 2.5e-4.
_base_ = "./dhvt_adamw_300e.py"

train_cfg = dict(max_epochs=100)
param_scheduler = dict(warmup=2, eta_min=1e-6)
optim_wrapper = dict(optimizer=dict(lr=2.5e-4, weight_decay=1e-8))

auto_scale_lr = dict(base_batch_size=256)
