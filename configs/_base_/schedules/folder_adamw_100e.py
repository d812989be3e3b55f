# 100 epochs, warm-up over 5, cosine; 64 images in a step at a learning rate of 2.5e-4, which is
# that of cifar_adamw_300e.py for each image.
_base_ = "./cifar_adamw_300e.py"

max_epochs = 100
warmup_epochs = 5

optim_wrapper = dict(optimizer=dict(lr=2.5e-4), clip_grad=dict(max_norm=5.0))

param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=0.001,
        by_epoch=True,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        eta_min=2.5e-6,
        by_epoch=True,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]

train_cfg = dict(max_epochs=max_epochs)

auto_scale_lr = dict(base_batch_size=64)
