# Fine-tuning as T2T-ViT's: SGD, 60 epochs, cosine; a total batch of 64.
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="smallvit.AutocastOptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        eta_min=5e-4,
        by_epoch=True,
        begin=0,
        end=60,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
