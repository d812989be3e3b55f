# 100 epochs, warm-up over 5, then a cosine; 64 images in a step at a learning rate of 2.5e-4,
# which is that of cifar_adamw_300e.py for each image. It changes with each iteration: epochs of
# few images are too few of them to warm up in steps.
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
