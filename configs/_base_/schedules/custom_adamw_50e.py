# For detectors and segmentors on your own data, from scratch: 50 epochs, warm-up over 2, then
# cosine, updated every iteration; a batch of 8 at a learning rate of 5e-4.
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=50, val_interval=5)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

param_scheduler = dict(
    type="smallvit.WarmupCosineLR",
    warmup=2,
    warmup_start_ratio=0.001,
    warmup_prefix=True,
    eta_min_ratio=0.01,
    by_epoch=True,
    convert_to_iter_based=True,
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "pos_embed": dict(decay_mult=0.0),
            "cls_token": dict(decay_mult=0.0),
        },
    ),
    clip_grad=dict(max_norm=5.0),
)

auto_scale_lr = dict(enable=False, base_batch_size=8)
