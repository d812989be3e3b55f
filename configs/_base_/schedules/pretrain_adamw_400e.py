# 400 epochs of self-supervised pretraining, warm-up over 10% of them, then cosine; batch size 64 at
# a learning rate of 5e-4. The betas are those of MAE.
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(flat_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)

max_epochs = 400
warmup = 40
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, end=warmup, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        begin=warmup,
        end=max_epochs,
        eta_min=0.0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=64)
