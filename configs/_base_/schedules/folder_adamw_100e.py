# 100 epochs, warm-up over 5, then cosine; batch size 64 at a learning rate of 2.5e-4, the same per
# image as in cifar_adamw_300e.py. It is updated every iteration, because small datasets have too
# few warm-up epochs for per-epoch updates.
_base_ = "./cifar_adamw_300e.py"

optim_wrapper = dict(optimizer=dict(lr=2.5e-4), clip_grad=dict(max_norm=5.0))

param_scheduler = dict(
    warmup=5,
    warmup_start=2.5e-7,
    warmup_prefix=True,
    eta_min=2.5e-6,
    convert_to_iter_based=True,
)

train_cfg = dict(max_epochs=100)

auto_scale_lr = dict(base_batch_size=64)
