# 300 epochs, cosine to zero, updated every epoch; a total batch of 128 at a learning rate of 0.1.
optim_wrapper = dict(
    constructor="smallvit.MergedGroupsConstructor",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)

param_scheduler = dict(type="smallvit.WarmupCosineLR", by_epoch=True)

train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

auto_scale_lr = dict(enable=False, base_batch_size=128)
