# 100 epochs from ImageNet weights, warm-up over 2, cosine; a total batch of 256 at a learning
# rate of 2.5e-4.
_base_ = "./dhvt_adamw_300e.py"

train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(type="LinearLR", start_factor=4e-3, by_epoch=True, begin=0, end=2),
    dict(type="CosineAnnealingLR", eta_min=1e-6, by_epoch=True, begin=2, end=100),
]
optim_wrapper = dict(optimizer=dict(lr=2.5e-4, weight_decay=1e-8))

auto_scale_lr = dict(base_batch_size=256)
