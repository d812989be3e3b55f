# 160,000 iterations, poly; a total batch of 16 at a learning rate of 6e-5. mmseg's schedules are
# not inherited because they set hooks, which default_runtime_seg.py defines.
train_cfg = dict(type="IterBasedTrainLoop", max_iters=160000, val_interval=16000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

# The decay starts at the first iteration; the warm-up scales its beginning.
param_scheduler = dict(type="smallvit.WarmupPolyLR", warmup=1500, warmup_ratio=1e-6, by_epoch=False)

# Float32, as published; --amp trains in bfloat16.
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={"absolute_pos_embed": dict(decay_mult=0.0)}
    ),
)

auto_scale_lr = dict(enable=False, base_batch_size=16)
