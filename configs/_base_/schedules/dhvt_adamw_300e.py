# 300 epochs, warm-up over 5, cosine from the first epoch; a total batch of 512 at a learning rate
# of 1e-3. As in the official code, weight decay applies to the positions of head tokens and to
# affine layers, but not to the class token and the position embedding of the ablations.
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# The official loop passes the index of the finished epoch to the scheduler, so epochs 0 and 1 use
# the learning rate of epoch 0.
param_scheduler = dict(
    type="smallvit.WarmupCosineLR",
    warmup=5,
    warmup_start=1e-6,
    eta_min=1e-5,
    delay=1,
    by_epoch=True,
)
optim_wrapper = dict(
    type="smallvit.AutocastOptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    dtype="bfloat16",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            "backbone.cls_token": dict(decay_mult=0.0),
            "backbone.pos_embed": dict(decay_mult=0.0),
        },
    ),
)

auto_scale_lr = dict(enable=False, base_batch_size=512)
