# 300 epochs, warm-up over 20, cosine; a total batch of 512 at a learning rate of 5e-4.
_base_ = "./in1k_adamw_300e.py"

optim_wrapper = dict(optimizer=dict(lr=5e-4))

param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, end=20, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=20,
        end=300,
        convert_to_iter_based=True,
    ),
]

# 4 GPUs with 128 images each
auto_scale_lr = dict(enable=False, base_batch_size=512)
