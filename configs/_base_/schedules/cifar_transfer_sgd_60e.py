# Fine-tuning as in T2T-ViT: SGD, 60 epochs, cosine, float32; a total batch of 64 at a learning rate
# of 0.05 for the new head and a hundredth of it for the pretrained weights.
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="OptimWrapper",
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.01)}),
)
param_scheduler = dict(type="CosineAnnealingLR", eta_min=2e-4, by_epoch=True, begin=0, end=60)
auto_scale_lr = dict(enable=False, base_batch_size=64)
