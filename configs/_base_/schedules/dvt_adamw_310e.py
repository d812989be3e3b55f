# 310 epochs: warm-up over 20, cosine from epoch 0 to 300, and 10 at the final learning rate. EMA,
# as published.
train_cfg = dict(by_epoch=True, max_epochs=310, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="smallvit.AutocastOptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.999), weight_decay=0.03),
    # Weight decay applies to class tokens and position embeddings, as in the official code.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = dict(
    type="smallvit.WarmupCosineLR",
    warmup=20,
    warmup_start=1e-6,
    eta_min=1e-5,
    T_max=300,
    by_epoch=True,
)
auto_scale_lr = dict(enable=False, base_batch_size=1024)
