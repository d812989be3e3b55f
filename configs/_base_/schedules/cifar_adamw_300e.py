# 300 epochs, warm-up over 20, cosine from the first epoch; a total batch of 128 at a learning rate
# of 5e-4, updated every epoch. No weight decay for vectors, tokens and position embeddings.
optim_wrapper = dict(
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={
            "cls_token": dict(decay_mult=0.0),
            "dist_token": dict(decay_mult=0.0),
            "pos_embed": dict(decay_mult=0.0),
        },
    ),
)

param_scheduler = dict(
    type="smallvit.WarmupCosineLR", warmup=20, warmup_start=5e-7, eta_min=5e-6, by_epoch=True
)

train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(enable=False, base_batch_size=128)
