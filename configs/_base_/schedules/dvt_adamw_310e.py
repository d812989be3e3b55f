# 310 epochs: warm-up over 20, cosine to 300, and 10 at the last rate. EMA, as published.
train_cfg = dict(by_epoch=True, max_epochs=310, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="smallvit.AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.999), weight_decay=0.03),
    # Class tokens and position embeddings decay, as in the official code.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=5e-4,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=20, end=300),
]
auto_scale_lr = dict(enable=False, base_batch_size=1024)
