# The recipe of tools/small_data_bench.py for images of up to 64x64, with its first method. The
# bench trains every method with it, replacing the model, the data and the number of steps.
_base_ = "../dw_shortcut/vit-mini_digits.py"

# Only augmentations that locality guidance can apply to stored features: crops (and flips for
# photos).
train_pipeline = [
    dict(type="Resize", scale=32, interpolation="bicubic"),
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(type="PackInputs"),
]
# Batches are always full, even if fewer images remain.
train_dataloader = dict(
    batch_size=64,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)

max_iters = 400
warmup_iters = 40
val_interval = 40
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=max_iters, val_interval=val_interval)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup_iters),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=warmup_iters, end=max_iters),
]
# No weight decay for vectors (norms, biases, layer scales), tokens and position embeddings.
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        flat_decay_mult=0.0,
        custom_keys={"cls_token": dict(decay_mult=0.0), "pos_embed": dict(decay_mult=0.0)},
    ),
)

default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(
        by_epoch=False, interval=val_interval, max_keep_ckpts=1, save_best="accuracy/top1"
    ),
)
log_processor = dict(by_epoch=False)
